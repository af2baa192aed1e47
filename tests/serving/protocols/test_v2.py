"""A conformance suite of the Open Inference Protocol (V2) over HTTP, written from its specification.

Sections: specification/protocol/inference_rest.md of kserve/open-inference-protocol, and Triton's
docs/protocol/extension_binary_data.md.
"""

import base64
import gzip
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving.app import create_app
from serving.protocols.v2_tensors import DATATYPES, Tensor, read_elements, write_binary
from treadle.models.bundle import ManifestColumn

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


# Server and model: metadata and health


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(client, path):
    said = client.get(path).json()
    assert said.keys() == {"name", "version", "extensions"}
    assert said["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("path", ["/v2/models/toy", "/v2/models/toy/versions/2"])
def test_model_metadata(many, path):
    said = many.get(path).json()
    assert (said["name"], said["versions"], said["platform"]) == ("toy", ["1", "2"], "onnx_onnxv1")
    types = [("temp", "FP64"), ("holiday", "BOOL"), ("when", "BYTES"), ("season", "BYTES")]
    assert said["inputs"] == [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in types]
    assert [(o["name"], o["datatype"], o["shape"]) for o in said["outputs"]] == [
        ("prediction", "FP64", [-1]),
        ("id", "BYTES", [-1]),
    ]
    assert said["properties"]["version"] == ("2" if "versions" in path else "1")
    assert all(isinstance(value, str) for value in said["properties"].values())


def test_metadata_of_classes_and_of_one_input(many):
    said = many.get("/v2/models/sorted").json()
    assert [(o["name"], o["datatype"], o["shape"]) for o in said["outputs"]] == [
        ("prediction", "BYTES", [-1]),
        ("probabilities", "FP64", [-1, 2]),
        ("id", "BYTES", [-1]),
    ]
    assert json.loads(said["properties"]["labels"]) == ["high", "low"]
    sums = many.get("/v2/models/sum").json()
    assert [said["datatype"] for said in sums["inputs"]] == ["FP64", "INT64"]
    assert json.loads(sums["properties"]["one_input"]) == [-1, 2]


def test_health(many):
    assert many.get("/v2/health/live").json() == {"live": True}
    assert many.get("/v2/health/ready").json()["ready"] is True
    assert many.get("/v2/models/toy/ready").json() == {"name": "toy", "ready": True}
    assert many.get("/v2/models/toy/versions/2/ready").json() == {"name": "toy", "ready": True}
    assert [said["state"] for said in many.post("/v2/repository/index").json()] == ["READY"] * 4


def test_a_model_that_does_not_answer_is_not_ready(home):
    home.register("broken", smoke=1.0)
    home.promote("broken")
    with TestClient(create_app(home.settings)) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert "broken" in refused(client.get("/v2/health/ready"), 503)
        refused(client.get("/v2/models/broken/ready"), 503)
        assert client.get("/v2/models/toy/ready").status_code == 200
        index = {said["name"]: said["state"] for said in client.post("/v2/repository/index", content=b"{}").json()}
        assert index == {"toy": "READY", "broken": "UNAVAILABLE"}
        (ready,) = client.post("/v2/repository/index", json={"ready": True}).json()
        assert (ready["name"], ready["version"]) == ("toy", "1")


def test_metadata_are_told_while_the_ledger_is_broken(client, home):
    with home.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE versions RENAME TO elsewhere")
    assert client.get("/v2/models/toy").json()["versions"] == ["1"]
    refused(client.get("/v2/models/toy/versions/2"), 503)
    assert client.get("/v2/health/ready").status_code == 200


def test_a_service_that_ends_is_not_ready(client):
    client.app.state.admission.draining = True
    refused(client.get("/v2/health/ready"), 503)
    assert client.get("/v2/health/live").status_code == 200


# Inference


def test_an_answer_has_everything_the_specification_names(client, home):
    reply = client.post(INFER, json={"id": "forty-two", "inputs": inputs()})
    said = reply.json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("toy", "1", "forty-two")
    assert said["parameters"] == {"digest": home.ledger.version("toy", 1).digest}
    prediction = output(reply, "prediction")
    assert (prediction["shape"], prediction["datatype"]) == ([2], "FP64")
    assert prediction["data"] == pytest.approx([1013.5, 1104.5])
    ids = output(reply, "id")
    assert (ids["shape"], ids["datatype"], len(set(ids["data"]))) == ([2], "BYTES", 2)


def test_an_answer_without_an_id_has_none(client):
    assert "id" not in client.post(INFER, json={"inputs": inputs()}).json()


def test_classes_and_probabilities(many):
    reply = many.post("/v2/models/sorted/infer", json={"inputs": inputs()})
    assert output(reply, "prediction") | {"name": ""} == {
        "name": "", "shape": [2], "datatype": "BYTES", "data": ["high", "high"],
    }  # fmt: skip
    shares = output(reply, "probabilities")
    assert shares["shape"] == [2, 2]
    assert json.loads(shares["parameters"]["labels"]) == ["high", "low"]
    assert np.reshape(shares["data"], (2, 2)).sum(axis=1) == pytest.approx([1, 1])


SAME = {
    "a column of one": inputs(temp=tensor("temp", "FP64", [3.5, 4.5], [2, 1])),
    "nested": inputs(temp=tensor("temp", "FP64", [[3.5], [4.5]], [2, 1])),
    "in another order": inputs()[::-1],
    "narrow": inputs(temp=tensor("temp", "FP32", [3.5, 4.5])),
    "half": inputs(temp=tensor("temp", "FP16", [3.5, 4.5])),
    "truths as counts": inputs(holiday=tensor("holiday", "UINT8", [0, 1])),
    "truths in their own words": inputs(holiday=tensor("holiday", "BYTES", ["no", "yes"])),
    "BASE64": inputs(
        season=tensor(
            "season", "BYTES", [base64.b64encode(w).decode() for w in (b"summer", b"winter")], content_type="base64"
        )
    ),
    "pandas JSON": inputs(holiday=tensor("holiday", "BYTES", ["false", '"yes"'], content_type="pd_json")),
    "parameters of others": inputs(temp=tensor("temp", "FP64", [3.5, 4.5], content_type="np", headers=None)),
}


@pytest.mark.parametrize("said", SAME.values(), ids=SAME)
def test_the_same_tensors_in_another_form_are_answered_the_same(steady, said):
    assert output(steady.post(INFER, json={"inputs": said}), "prediction")["data"] == pytest.approx([1013.5, 1104.5])


def test_what_mlservers_pandas_codec_sends_is_answered(client):
    # As `PandasCodec.encode_request(frame).model_dump()` of MLServer 1.7.1 writes it
    body = {
        "id": None,
        "parameters": {"content_type": "pd", "headers": None},
        "inputs": [
            {"name": "temp", "shape": [2, 1], "datatype": "FP64", "parameters": None, "data": [3.5, 4.5]},
            {"name": "holiday", "shape": [2, 1], "datatype": "BOOL", "parameters": None, "data": [False, True]},
            tensor("when", "BYTES", ["2011-01-01T05:00:00"] * 2, [2, 1], content_type="str", headers=None),
            tensor("season", "BYTES", ["summer", "winter"], [2, 1], content_type="str", headers=None),
        ],
        "outputs": None,
    }
    assert output(client.post(INFER, json=body), "prediction")["data"] == pytest.approx([1013.5, 1104.5])


def test_one_tensor_has_all_columns_of_a_model_of_numbers(many, home, eventually):
    body = {"inputs": [tensor("input-1", "FP64", [1.5, 2.0, 3.0, None], [2, 2], content_type="np")]}
    reply = many.post("/v2/models/sum/infer", json=body)
    assert output(reply, "prediction")["data"] == [3.5, 3.0]
    rows = in_ledger(home, eventually, "sum", 2)
    assert sorted((row.features["one"], row.features["two"]) for row in rows) == [(1.5, 2.0), (3.0, None)]
    nested = {"inputs": [tensor("X", "INT64", [[1, 2], [3, 4]], [2, 2])]}
    assert output(many.post("/v2/models/sum/infer", json=nested), "prediction")["data"] == [3.0, 7.0]
    assert "send an input for each" in refused(
        many.post(INFER, json={"inputs": [tensor("x", "FP64", [0.0] * 4, [1, 4])]}), 400
    )


def test_the_outputs_filter_chooses_and_orders(many):
    wanted = [{"name": "id"}, {"name": "probabilities", "parameters": {"whatever": 1}}]
    reply = many.post("/v2/models/sorted/infer", json={"inputs": inputs(), "outputs": wanted})
    assert [said["name"] for said in reply.json()["outputs"]] == ["id", "probabilities"]
    everything = many.post("/v2/models/sorted/infer", json={"inputs": inputs(), "outputs": []})
    assert len(everything.json()["outputs"]) == 3


def test_a_version_that_is_named_is_served_while_the_champion_moves(many, home, eventually):
    def first(path):
        return output(many.post(path, json={"inputs": inputs()}), "prediction")["data"][0]

    assert first("/v2/models/toy/versions/2/infer") == pytest.approx(2013.5)
    home.promote(version=2)
    eventually(lambda: many.get("/v2/models/toy").json()["properties"]["version"] == "2")
    assert first(INFER) == pytest.approx(2013.5)
    reply = many.post("/v2/models/toy/versions/1/infer", json={"inputs": inputs()})
    assert reply.json()["model_version"] == "1"
    assert output(reply, "prediction")["data"][0] == pytest.approx(1013.5)
    assert sorted(row.version for row in in_ledger(home, eventually, "toy", 6)) == [1, 1, 2, 2, 2, 2]


def test_the_ledger_holds_rows_as_the_own_protocol_would_have_sent_them(client, home, eventually):
    reply = client.post(INFER, json={"inputs": inputs()})
    client.post("/v1/models/toy/predict", json={"rows": [ROW]})
    rows = {row.id: row for row in in_ledger(home, eventually, "toy", 3)}
    ids = output(reply, "id")["data"]
    assert rows[ids[0]].features == ROW
    assert list(rows[ids[0]].features) == list(ROW)
    assert rows[ids[1]].features == {
        "temp": 4.5, "holiday": True, "when": "2011-01-02T05:00:00Z", "season": "winter",
    }  # fmt: skip
    assert [rows[name].answer["prediction"] for name in ids] == output(reply, "prediction")["data"]
    (own,) = [row for name, row in rows.items() if name not in ids]
    assert (own.features, own.answer) == (rows[ids[0]].features, rows[ids[0]].answer)


def test_feedback_takes_the_ids(client):
    ids = output(client.post(INFER, json={"inputs": inputs(), "outputs": [{"name": "id"}]}), "id")["data"]
    labels = [{"id": name, "label": 12} for name in ids]
    assert client.post("/v1/models/toy/feedback", json={"labels": labels}).json() == {"accepted": 2, "repeated": 0}


def test_null_is_a_value_that_is_not_known(many, home, eventually):
    body = {"inputs": [tensor("one", "FP64", [None, 1.0]), tensor("two", "INT64", [2, None])]}
    assert output(many.post("/v2/models/sum/infer", json=body), "prediction")["data"] == [2.0, 1.0]
    found = [row.features for row in in_ledger(home, eventually, "sum", 2)]
    assert {"one": None, "two": 2} in found
    assert {"one": 1.0, "two": None} in found
    text, headers = binary_body(
        {"inputs": [binary("one", "FP32", 1, 4), binary("two", "FP64", 1, 8)]},
        np.array([np.nan], "<f4").tobytes(), np.array([5.0], "<f8").tobytes(),
    )  # fmt: skip
    reply = many.post("/v2/models/sum/infer", content=text, headers=headers)
    assert output(reply, "prediction")["data"] == [5.0]


def test_integers_beyond_2_to_the_53_are_not_mangled(many, home, eventually):
    big = [2**53 + 1, -(2**63), 2**63 - 1]
    body = {"inputs": [tensor("one", "FP64", [0, 0, 0]), tensor("two", "INT64", big)]}
    reply = many.post("/v2/models/sum/infer", json=body)
    assert output(reply, "prediction")["data"] == [float(value) for value in big]  # the model takes doubles
    assert {row.features["two"] for row in in_ledger(home, eventually, "sum", 3)} == set(big)


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


# Requests that cannot be answered: a body, and the status


def request(said, **more):
    return json.dumps({"inputs": said, **more}).encode()


REFUSED = {
    "nothing": (b"", 400),
    "not JSON": (b"inputs", 400),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "NaN": (request(inputs()).replace(b"4.5", b"NaN"), 400),
    "Infinity": (request(inputs()).replace(b"4.5", b"Infinity"), 400),
    "1e999": (request(inputs()).replace(b"4.5", b"1e999"), 400),
    "a million digits": (request(inputs()).replace(b"4.5", b"9" * 1_000_000), 400),
    "UTF-16": (json.dumps({"inputs": inputs()}).encode("utf-16"), 400),
    "invalid UTF-8": (request(inputs()).replace(b"summer", b"\xff"), 400),
    "lone surrogate": (request(inputs()).replace(b"summer", b"\\ud800"), 400),
    "no inputs": (b"{}", 400),
    "empty inputs": (request([]), 400),
    "inputs are text": (request(SECRET), 400),
    "an input is a number": (request([7]), 400),
    "an id that is a number": (request(inputs(), id=42), 400),
    "parameters that are a list": (request(inputs(), parameters=[SECRET]), 400),
    "an input without a name": (request([{"shape": [1], "datatype": "BOOL", "data": [True]}]), 400),
    "an input without a shape": (request([{"name": "temp", "datatype": "FP64", "data": [1.0]}]), 400),
    "an input without a datatype": (request([{"name": "temp", "shape": [1], "data": [1.0]}]), 400),
    "an input without data": (request(inputs(temp={"name": "temp", "shape": [2], "datatype": "FP64"})), 400),
    "data that are a number": (request(inputs(temp=tensor("temp", "FP64", [1]) | {"data": 1.5, "shape": [2]})), 400),
    "an unknown datatype": (request(inputs(temp=tensor("temp", SECRET, [1.0, 2.0]))), 400),
    "BF16 in JSON": (request(inputs(temp=tensor("temp", "BF16", [1.0, 2.0]))), 400),
    "a datatype of small letters": (request(inputs(temp=tensor("temp", "fp64", [1.0, 2.0]))), 400),
    "an unknown input": (request([*inputs(), tensor("tmp", "FP64", [1.0, 2.0])]), 400),
    "an unprintable input": (request([*inputs(), tensor(f"{SECRET}\n", "FP64", [1.0, 2.0])]), 400),
    "a missing input": (request(inputs(temp=None)), 400),
    "an input twice": (request([*inputs(), inputs()[0]]), 400),
    "too few data": (request(inputs(temp=tensor("temp", "FP64", [1.0], [2]))), 400),
    "too many data": (request(inputs(temp=tensor("temp", "FP64", [1.0] * 3, [2]))), 400),
    "rows of two lengths": (request(inputs(temp=tensor("temp", "FP64", [1.0] * 3))), 400),
    "no rows": (request([said | {"shape": [0], "data": []} for said in inputs()]), 400),
    "no shape": (request(inputs(temp=tensor("temp", "FP64", [1.0]) | {"shape": []})), 400),
    "a negative shape": (request([said | {"shape": [-1]} for said in inputs()]), 400),
    "a negative side": (request(inputs(temp=tensor("temp", "FP64", [1.0, 2.0], [-2, -1]))), 400),
    "a shape that overflows": (request(inputs(temp=tensor("temp", "FP64", [1.0], [2**33, 2**33]))), 400),
    "a shape of many digits": (request(inputs(temp=tensor("temp", "FP64", [1.0], [2, 10**30]))), 400),
    "a shape with a fraction": (request(inputs(temp=tensor("temp", "FP64", [1.0, 2.0], [2.0]))), 400),
    "a shape with a truth": (request(inputs(temp=tensor("temp", "FP64", [1.0], [True]))), 400),
    "a wide column": (request(inputs(temp=tensor("temp", "FP64", [1.0] * 4, [2, 2]))), 400),
    "a deep column": (request(inputs(temp=tensor("temp", "FP64", [1.0, 2.0], [2, 1, 1]))), 400),
    "too many rows": (request([said | {"shape": [2**40]} for said in inputs()]), 413),
    "ragged": (request(inputs(temp=tensor("temp", "FP64", [[1.0], [2.0, 3.0]], [2, 1]))), 400),
    "half nested": (request(inputs(temp=tensor("temp", "FP64", [[1.0], 2.0], [2, 1]))), 400),
    "nested beyond the shape": (request(inputs(temp=tensor("temp", "FP64", [[1.0], [2.0]], [2]))), 400),
    "deep": (request(inputs(temp=tensor("temp", "FP64", ["@"]))).replace(b'"@"', b"[" * 10**5 + b"]" * 10**5), 400),
    "deep and open": (b'{"inputs":' + b"[" * 10**6, 400),
    "a text for a number": (request(inputs(temp=tensor("temp", "BYTES", [SECRET] * 2))), 422),
    "a truth for a number": (request(inputs(temp=tensor("temp", "BOOL", [True] * 2))), 422),
    "a number for a text": (request(inputs(season=tensor("season", "INT8", [1, 2]))), 422),
    "seconds for a time": (request(inputs(when=tensor("when", "INT64", [1, 2]))), 422),
    "no time": (request(inputs(when=tensor("when", "BYTES", [SECRET] * 2))), 422),
    "two for a truth": (request(inputs(holiday=tensor("holiday", "UINT8", [0, 2]))), 422),
    "a long text": (request(inputs(season=tensor("season", "BYTES", ["x" * 20_000] * 2))), 422),
    "a number that the model cannot take": (request(inputs(temp=tensor("temp", "FP64", [1e300] * 2))), 422),
    "no base64": (request(inputs(season=tensor("season", "BYTES", [SECRET] * 2, content_type="base64"))), 400),
    "base64 of no text": (request(inputs(season=tensor("season", "BYTES", ["/w=="] * 2, content_type="base64"))), 400),
    "no pandas JSON": (request(inputs(season=tensor("season", "BYTES", [SECRET] * 2, content_type="pd_json"))), 400),
    "an unknown output": (request(inputs(), outputs=[{"name": SECRET}]), 400),
    "an output twice": (request(inputs(), outputs=[{"name": "id"}, {"name": "id"}]), 400),
    "an output without a name": (request(inputs(), outputs=[{}]), 400),
    "binary_data that is text": (
        request(inputs(), outputs=[{"name": "id", "parameters": {"binary_data": SECRET}}]),
        400,
    ),
    "binary_data_output that is a number": (request(inputs(), parameters={"binary_data_output": 1}), 400),
    "classification": (request(inputs(), outputs=[{"name": "prediction", "parameters": {"classification": 1}}]), 400),
    "shared memory": (
        request(
            inputs(
                temp=tensor("temp", "FP64", [1.0, 2.0], shared_memory_region=SECRET, shared_memory_byte_size=16),
            )
        ),
        400,
    ),
    "a binary size without binary data": (request(inputs(temp=binary("temp", "FP64", 2, 16))), 400),
}


@pytest.mark.parametrize(("body", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_cannot_be_answered_is_refused(steady, body, status):
    refused(steady.post(INFER, content=body), status)


def test_what_is_refused_is_not_in_the_ledger(client, home, eventually):
    for body, _ in REFUSED.values():
        client.post(INFER, content=body)
    for body, headers in BAD_BINARY.values():
        client.post(INFER, content=body, headers=headers)
    ids = output(client.post(INFER, json={"inputs": inputs()}), "id")["data"]
    assert sorted(row.id for row in in_ledger(home, eventually, "toy", 2)) == sorted(ids)


ROUTES = {
    "unknown route": ("GET", "/v2/nothing", 404),
    "unknown model": ("GET", "/v2/models/canary", 404),
    "unknown model, ready": ("GET", "/v2/models/canary/ready", 404),
    "unknown model, infer": ("POST", "/v2/models/canary/infer", 404),
    "unknown version": ("GET", "/v2/models/toy/versions/9", 404),
    "unknown version, infer": ("POST", "/v2/models/toy/versions/9/infer", 404),
    "a version that is no number": ("POST", "/v2/models/toy/versions/latest/infer", 404),
    "a version that overflows": ("POST", f"/v2/models/toy/versions/{10**30}/infer", 404),
    "a negative version": ("GET", "/v2/models/toy/versions/-1/ready", 404),
    "infer by GET": ("GET", INFER, 405),
    "metadata by POST": ("POST", "/v2/models/toy", 405),
    "server by DELETE": ("DELETE", "/v2", 405),
    "load": ("POST", "/v2/repository/models/toy/load", 404),
    "an index of nonsense": ("POST", "/v2/repository/index", 400),
}


@pytest.mark.parametrize(("method", "path", "status"), ROUTES.values(), ids=ROUTES)
def test_every_error_below_v2_is_of_its_shape(steady, method, path, status):
    refused(steady.request(method, path, content=f'"{SECRET}"'.encode()), status)


def test_failures_of_the_service_are_of_its_shape_too(home, monkeypatch):
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        monkeypatch.setattr(client.app.state.champions._models["toy"].session, "run", None)
        refused(client.post(INFER, json={"inputs": inputs()}), 500)
        admission = client.app.state.admission
        admission.requests = 10**9
        reply = client.post(INFER, json={"inputs": inputs()})
        admission.requests = 0
        refused(reply, 503)
        assert reply.headers["retry-after"] == "1"


def test_too_large_a_body_is_413(make_home):
    home = make_home(max_body_bytes=2_000)
    home.register()
    home.promote()
    long = request(inputs(), parameters={"note": "x" * 5_000})
    with TestClient(create_app(home.settings)) as client:
        refused(client.post(INFER, content=long), 413)
        for name, squeeze in COMPRESSIONS.items():
            assert len(squeeze(long)) < 2_000
            assert "decompressed" in refused(
                client.post(INFER, content=squeeze(long), headers={"Content-Encoding": name}), 413
            )


# The binary tensor data extension


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


def test_binary_inputs_with_json_outputs(client, home, eventually):
    said, buffers = binary_inputs()
    body, headers = binary_body({"id": "b", "inputs": said}, *buffers)
    reply = client.post(INFER, content=body, headers=headers)
    assert output(reply, "prediction")["data"] == pytest.approx([1013.5, 1104.5])
    assert HEADER not in reply.headers
    assert ROW in [row.features for row in in_ledger(home, eventually, "toy", 2)]


def test_binary_and_json_inputs_mixed_with_binary_outputs(many):
    said, buffers = binary_inputs()
    said[1], buffers[1] = inputs()[1], b""
    wanted = [{"name": "id"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    body, headers = binary_body({"inputs": said, "outputs": wanted}, *buffers)
    reply = many.post("/v2/models/sorted/infer", content=body, headers=headers)
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers[HEADER])
    ids, shares = json.loads(reply.content[:length])["outputs"]
    assert len(ids["data"]) == 2
    assert shares["parameters"]["binary_data_size"] == 32
    assert "data" not in shares
    found = np.frombuffer(reply.content[length:], "<f8").reshape(shares["shape"])
    assert found.sum(axis=1) == pytest.approx([1, 1])


def test_binary_data_output_is_for_all_outputs_that_do_not_say_otherwise(many):
    body = {"inputs": inputs(), "parameters": {"binary_data_output": True}}
    reply = many.post("/v2/models/sorted/infer", json=body)
    length = int(reply.headers[HEADER])
    said = json.loads(reply.content[:length])["outputs"]
    assert [s["name"] for s in said] == ["prediction", "probabilities", "id"]
    sizes = [s["parameters"]["binary_data_size"] for s in said]
    assert sizes == [16, 32, 72]
    assert len(reply.content) == length + sum(sizes)
    assert reply.content[length : length + 16] == texts("high", "high")
    body["outputs"] = [{"name": "prediction", "parameters": {"binary_data": False}}]
    assert output(many.post("/v2/models/sorted/infer", json=body), "prediction")["data"] == ["high", "high"]


def test_bf16_is_the_upper_half_of_a_fp32(many):
    raw = (np.array([1.5, -2.0], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    body, headers = binary_body({"inputs": [binary("one", "BF16", 2, 4), tensor("two", "INT8", [0, 0])]}, raw)
    reply = many.post("/v2/models/sum/infer", content=body, headers=headers)
    assert output(reply, "prediction")["data"] == [1.5, -2.0]


def test_a_raw_binary_request_is_for_models_of_one_column(many):
    raw = np.array([1.5, 2.5, 3.5], "<f8").tobytes()
    reply = many.post("/v2/models/single/infer", content=raw, headers={HEADER: "0"})
    length = int(reply.headers[HEADER])
    said = json.loads(reply.content[:length])["outputs"]
    assert np.frombuffer(reply.content[length : length + 24], "<f8").tolist() == [1.5, 2.5, 3.5]
    assert [s["shape"] for s in said] == [[3], [3]]
    refused(many.post("/v2/models/single/infer", content=raw[:-1], headers={HEADER: "0"}), 400)
    refused(many.post("/v2/models/single/infer", content=b"", headers={HEADER: "0"}), 400)
    refused(many.post("/v2/models/sum/infer", content=raw, headers={HEADER: "0"}), 400)


def spoiled(*changes, header=None):
    """The binary request of `toy`, with an input or its data changed."""
    said, buffers = binary_inputs()
    for index, entry, raw in changes:
        said[index] = said[index] | entry
        buffers[index] = buffers[index] if raw is None else raw
    body, headers = binary_body({"inputs": said}, *buffers)
    return body, headers | ({} if header is None else {HEADER: header})


def size(count):
    return {"parameters": {"binary_data_size": count}}


WHOLE, HEADERS = spoiled()
BAD_BINARY = {
    "cut off": (WHOLE[:-1], HEADERS),
    "without all data": (WHOLE[: int(HEADERS[HEADER])], HEADERS),
    "longer than said": (WHOLE + b"x", HEADERS),
    "a header length beyond the body": spoiled(header="1000000"),
    "a header length within the JSON": spoiled(header="10"),
    "a negative header length": spoiled(header="-1"),
    "a header length that is no number": spoiled(header="ten"),
    "a header length of many digits": spoiled(header="9" * 5000),
    "no header length": (WHOLE, {}),
    "a negative size": spoiled((0, size(-16), None)),
    "a size that is a truth": spoiled((0, size(True), None)),
    "a size that is text": spoiled((0, size("16"), None)),
    "a size that overflows": spoiled((0, size(2**64), None)),
    "a size for fewer elements": spoiled((0, size(8), b"\0" * 8)),
    "a size for more elements": spoiled((0, size(24), b"\0" * 24)),
    "a size for half an element": spoiled((0, size(12), b"\0" * 12)),
    "data twice": spoiled((0, {"data": [1.0, 2.0]}, None)),
    "infinity": spoiled((0, {}, np.array([np.inf, 1.0], "<f8").tobytes())),
    "a truth that is 2": spoiled((1, {}, b"\x00\x02")),
    "a text beyond the data": spoiled((3, size(8), struct.pack("<I", 100) + b"1234")),
    "a text of 4 GB": spoiled((3, size(8), struct.pack("<I", 2**32 - 1) + b"1234")),
    "a text without its length": spoiled((3, size(12), texts("summer") + b"\0\0")),
    "one text too few": spoiled((3, size(10), texts("summer"))),
    "one text too many": spoiled((3, size(30), texts("summer") * 3)),
    "a text that is no text": spoiled((3, size(10), struct.pack("<I", 1) + b"\xff" + struct.pack("<I", 1) + b"\xff")),
}


@pytest.mark.parametrize(("body", "headers"), BAD_BINARY.values(), ids=BAD_BINARY)
def test_binary_data_that_do_not_fit_are_refused(steady, body, headers):
    refused(steady.post(INFER, content=body, headers=headers), 400)


# Compression

COMPRESSIONS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compressed_body_is_read(client, name):
    said, buffers = binary_inputs()
    body, headers = binary_body({"inputs": said}, *buffers)
    headers["Content-Encoding"] = name
    reply = client.post(INFER, content=COMPRESSIONS[name](body), headers=headers)
    assert output(reply, "prediction")["data"] == pytest.approx([1013.5, 1104.5])


BAD_COMPRESSION = {
    "not compressed": (WHOLE, "gzip", 400),
    "the other one": (zlib.compress(WHOLE), "gzip", 400),
    "cut off": (gzip.compress(WHOLE)[:-9], "gzip", 400),
    "with more behind it": (gzip.compress(WHOLE) + b"more", "gzip", 400),
    "unknown": (WHOLE, "br", 415),
    "twice": (gzip.compress(gzip.compress(WHOLE)), "gzip, gzip", 415),
    "a bomb": (gzip.compress(b" " * 100_000_000, 9), "gzip", 413),
}


@pytest.mark.parametrize(("body", "encoding", "status"), BAD_COMPRESSION.values(), ids=BAD_COMPRESSION)
def test_a_body_that_cannot_be_decompressed_is_refused(steady, body, encoding, status):
    refused(steady.post(INFER, content=body, headers=HEADERS | {"Content-Encoding": encoding}), status)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_large_answer_is_compressed_for_those_who_ask(client, encoding):
    body = {"inputs": [said | {"shape": [200], "data": said["data"] * 100} for said in inputs()]}
    reply = client.post(INFER, json=body, headers={"Accept-Encoding": encoding})
    assert reply.headers["content-encoding"] == encoding
    assert len(output(reply, "prediction")["data"]) == 200
    plain = client.post(INFER, json=body, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


# The API's description


def test_the_description_has_an_example_that_works(many):
    paths = many.get("/openapi.json").json()["paths"]
    for name in ("toy", "sorted"):
        operation = paths[f"/v2/models/{name}/infer"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert many.post(f"/v2/models/{name}/infer", json=example).status_code == 200
    served = {route.path for route in many.app.routes if getattr(route, "path", "").startswith("/v2")}
    assert served - {"/v2/"} <= paths.keys()


# Properties

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
