"""Server, model and inference of the Open Inference Protocol (V2) over HTTP, written from its specification.

Specification: specification/protocol/inference_rest.md of kserve/open-inference-protocol.
"""

import base64
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.protocols.conftest import (
    INFER,
    ROW,
    binary,
    binary_body,
    in_ledger,
    inputs,
    output,
    refused,
    tensor,
)


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
    client.app.state.parts.admission.draining = True
    refused(client.get("/v2/health/ready"), 503)
    assert client.get("/v2/health/live").status_code == 200


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


def test_the_description_has_an_example_that_works(many):
    paths = many.get("/openapi.json").json()["paths"]
    for name in ("toy", "sorted"):
        operation = paths[f"/v2/models/{name}/infer"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert many.post(f"/v2/models/{name}/infer", json=example).status_code == 200
    served = {route.path for route in many.app.routes if getattr(route, "path", "").startswith("/v2")}
    assert served - {"/v2/"} <= paths.keys()
