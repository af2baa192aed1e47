"""Every datatype of the Open Inference Protocol: what arrives exactly, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.protocols.v2_tensors import DATATYPES, Tensor, read_elements, write_binary
from tests.serving.protocols.conftest import binary, binary_body, output, refused, tensor

EXTREMES = {
    "UINT8": [0, 255], "UINT16": [0, 65535], "UINT32": [0, 2**32 - 1], "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127], "INT16": [-32768, 32767], "INT32": [-(2**31), 2**31 - 1], "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-65504.0, 2.0**-24], "FP32": [-3.4028234663852886e38, 1e-45], "FP64": [-1.7e308, 5e-324],
}  # fmt: skip


@pytest.mark.parametrize("datatype", EXTREMES)
def test_every_numeric_datatype_arrives_exactly(steady, module_home, eventually, datatype):
    values = np.array(EXTREMES[datatype], DATATYPES[datatype])
    body = {"inputs": [tensor("one", datatype, values.tolist()), tensor("two", "UINT8", [0, 0])]}
    text, headers = binary_body(
        {"inputs": [binary("one", datatype, 2, values.nbytes), tensor("two", "UINT8", [0, 0])]}, values.tobytes()
    )
    first = steady.post("/v2/models/sum/infer", json=body)
    second = steady.post("/v2/models/sum/infer", content=text, headers=headers)
    assert output(first, "prediction")["data"] == output(second, "prediction")["data"] == [float(v) for v in values]
    ids = output(first, "id")["data"] + output(second, "id")["data"]
    eventually(lambda: set(ids) <= {row.id for row in module_home.ledger.window("sum", 1000)})
    kept = {row.id: row.features["one"] for row in module_home.ledger.window("sum", 1000)}
    sent = values.tolist() if values.dtype.kind != "f" else values.astype(float).tolist()
    assert [kept[name] for name in ids] == sent * 2


TOO_MUCH = {
    "UINT8": [-1, 256], "UINT16": [-1, 65536], "UINT32": [-1, 2**32], "UINT64": [-1, 2**64], "INT8": [-129, 128],
    "INT16": [-32769, 32768], "INT32": [-(2**31) - 1, 2**31], "INT64": [-(2**63) - 1, 2**63], "FP16": [65520.0, -1e5],
    "FP32": [3.5e38, -1e39], "FP64": [10**400],
}  # fmt: skip


@pytest.mark.parametrize(("datatype", "value"), [(name, value) for name, some in TOO_MUCH.items() for value in some])
def test_what_a_datatype_cannot_hold_is_refused(steady, datatype, value):
    body = {"inputs": [tensor("one", datatype, [value]), tensor("two", "INT8", [0])]}
    refused(steady.post("/v2/models/sum/infer", json=body), 400)


WRONG = {
    "BOOL": [0, 1.0, "true"], "UINT8": [True, 1.0, "1", [1]], "INT64": [False, 2.0, "2", {"a": 1}],
    "FP16": [True, "1"], "FP32": [True, "1.0"], "FP64": [False, "NaN", [1.0]], "BYTES": [1, 1.5, True, ["a"]],
}  # fmt: skip


@pytest.mark.parametrize(("datatype", "value"), [(name, value) for name, some in WRONG.items() for value in some])
def test_elements_of_another_type_are_refused(steady, datatype, value):
    body = {"inputs": [tensor("one", datatype, [value]), tensor("two", "INT8", [0])]}
    refused(steady.post("/v2/models/sum/infer", json=body), 400)


NUMBERS = {name: np.dtype(kind) for name, kind in DATATYPES.items() if kind not in ("O", "?") and name != "BF16"}


def of_datatype(name):
    if name not in NUMBERS:
        return {"BOOL": st.booleans(), "BYTES": st.text()}[name]
    dtype = NUMBERS[name]
    if dtype.kind == "f":
        return st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False)
    return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


@st.composite
def tensors(draw):
    name = draw(st.sampled_from([*NUMBERS, "BOOL", "BYTES"]))
    return name, draw(st.lists(of_datatype(name), min_size=1, max_size=30))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tensors())
def test_any_tensor_is_read_as_it_was_written(made):
    datatype, values = made
    array = np.array(values, DATATYPES[datatype])
    column = [len(values), 1]
    flat = json.loads(json.dumps(values))
    nested = json.loads(json.dumps([[value] for value in values]))
    raw = write_binary(array)
    assert read_elements(Tensor("t", column, datatype, None, flat), None, "t") == values
    assert read_elements(Tensor("t", column, datatype, None, nested), None, "t") == values
    assert read_elements(Tensor("t", column, datatype), raw, "t") == values
