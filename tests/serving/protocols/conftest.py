"""A model whose answer is plain to see, the sum of its numbers; and how the tests of V2 ask."""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.models.bundle import Manifest, ManifestColumn

COUNTS = (ManifestColumn("one", "number"), ManifestColumn("two", "integer"))


@pytest.fixture(scope="session")
def register_sum() -> Callable[..., None]:
    """Registers and promotes such a model."""
    return _register_sum


def _register_sum(home: Any, name: str, columns: Sequence[ManifestColumn] = COUNTS) -> None:
    """Sum the numeric columns as a double, 0 where one is not known; text and times are taken and not used."""
    nodes, known = [], []
    for column in columns:
        if column.kind in ("number", "integer"):
            nodes.append(helper.make_node("IsNaN", [column.name], [f"{column.name} nan"]))
            nodes.append(
                helper.make_node("Where", [f"{column.name} nan", "zero", column.name], [f"{column.name} known"])
            )
            known.append(f"{column.name} known")
    nodes.append(helper.make_node("Sum", known, ["prediction"]))
    types = [TensorProto.STRING if column.kind == "category" else TensorProto.DOUBLE for column in columns]
    made = helper.make_graph(
        nodes, "sum",
        [helper.make_tensor_value_info(c.name, type_, ["N"]) for c, type_ in zip(columns, types, strict=True)],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, ["N"])],
        [helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0])],
    )  # fmt: skip
    graph = onnx.ModelProto(ir_version=10, graph=made, opset_import=[helper.make_opsetid("", 21)])
    manifest = Manifest(
        model=name, problem="tabular-regression", family="linear", version=1, columns=tuple(columns), target="sum",
        metric="mae",
    )  # fmt: skip
    home.add(manifest, graph.SerializeToString())
    home.promote(name)


ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
INFER = "/v2/models/toy/infer"
HEADER = "Inference-Header-Content-Length"
SECRET = "canary-7f3a"


def tensor(name, datatype, data, shape=None, **parameters):
    said = {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}
    return said | ({"parameters": parameters} if parameters else {})


def inputs(**changes):
    """The four inputs of `toy` for two rows; a change replaces one, `None` leaves it out."""
    usual = {
        "temp": tensor("temp", "FP64", [3.5, 4.5]),
        "holiday": tensor("holiday", "BOOL", [False, True]),
        "when": tensor("when", "BYTES", ["2011-01-01T05:00:00", "2011-01-02T05:00:00Z"]),
        "season": tensor("season", "BYTES", ["summer", "winter"]),
    }
    return [said for said in (usual | changes).values() if said is not None]


def output(reply, name):
    assert reply.status_code == 200, reply.text
    (found,) = [said for said in reply.json()["outputs"] if said["name"] == name]
    return found


def refused(reply, status):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == ["error"]
    assert SECRET not in reply.text
    return reply.json()["error"]


def binary_body(request, *buffers):
    """A request with binary data behind it, and its headers."""
    text = json.dumps(request).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(text))}
    return text + b"".join(buffers), headers


def binary(name, datatype, count, size):
    return {"name": name, "shape": [count], "datatype": datatype, "parameters": {"binary_data_size": size}}


def texts(*words):
    return b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words)


@pytest.fixture
def many(home, register_sum):
    """A service with `toy` (two versions, the first champion), `sorted` (classes), `sum` (numbers), `single`."""
    home.register(version=2)
    home.register("sorted", classes=True)
    home.promote("sorted")
    register_sum(home, "sum")
    register_sum(home, "single", [ManifestColumn("one", "number")])
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def steady(module_home, register_sum):
    """A service with `toy` and `sum` that the tables of refusals share."""
    module_home.register()
    module_home.promote()
    register_sum(module_home, "sum")
    with TestClient(create_app(module_home.settings), raise_server_exceptions=False) as client:
        yield client


def in_ledger(home, eventually, model, count):
    """The rows of the ledger, once they are there."""
    eventually(lambda: len(home.ledger.window(model, count + 1)) == count)
    return home.ledger.window(model, count + 1)


def request(said, **more):
    return json.dumps({"inputs": said, **more}).encode()


def binary_inputs():
    """The inputs of `toy` for two rows as binary data."""
    buffers = {
        "temp": ("FP64", np.array([3.5, 4.5], "<f8").tobytes()),
        "holiday": ("BOOL", b"\x00\x01"),
        "when": ("BYTES", texts("2011-01-01T05:00:00", "2011-01-02T05:00:00Z")),
        "season": ("BYTES", texts("summer", "winter")),
    }
    said = [binary(name, datatype, 2, len(raw)) for name, (datatype, raw) in buffers.items()]
    return said, [raw for _, raw in buffers.values()]
