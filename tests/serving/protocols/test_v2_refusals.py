"""Requests of the Open Inference Protocol that cannot be answered, and the one shape of its errors."""

import json

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.protocols.conftest import INFER, SECRET, binary, in_ledger, inputs, output, refused, request, tensor

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
        monkeypatch.setattr(client.app.state.parts.champions._models["toy"].session, "run", None)
        refused(client.post(INFER, json={"inputs": inputs()}), 500)
        admission = client.app.state.parts.admission
        admission.requests = 10**9
        reply = client.post(INFER, json={"inputs": inputs()})
        admission.requests = 0
        refused(reply, 503)
        assert reply.headers["retry-after"] == "1"
