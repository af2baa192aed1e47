"""/openapi.json says of ready models what is so."""

import base64

import pytest
from jsonschema import Draft202012Validator

from serving.door.routes import ROUTES
from serving.ready.openapi import white_png
from tests.serving.test_openapi import check
from treadle.capabilities import CAPABILITIES, load_capability
from treadle.settings import CHECKOUT

PORTRAIT = base64.b64encode((CHECKOUT / "tests" / "pictures" / "obama-2012.jpg").read_bytes()).decode()
pytestmark = pytest.mark.xdist_group("ready")


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def test_every_route_of_ready_models_is_described(document):
    for route in ROUTES:
        if route.startswith(("/v1/ready", "/openai")):
            assert route in document["paths"], route
            methods = {method.lower() for method in ROUTES[route]} - {"head"}
            assert methods <= set(document["paths"][route]), route


@pytest.mark.parametrize("name", CAPABILITIES)
def test_examples_are_of_the_described_form(document, name):
    body = document["paths"][f"/v1/ready/{name}"]["post"]["requestBody"]["content"]["application/json"]
    Draft202012Validator.check_schema(body["schema"])
    Draft202012Validator(body["schema"]).validate(body["example"])
    load_capability(name).parse(body["example"]["parameters"])


REQUESTS = [
    ("get", "/v1/ready", {}),
    ("get", "/v1/ready/read-text", {}),
    ("get", "/v1/ready/red-text", {}),
    ("get", "/v1/ready/jobs/nothing", {}),
    ("post", "/v1/ready/detect-language", {"json": {"inputs": "Guten Morgen"}}),
    ("post", "/v1/ready/detect-language", {"json": {"inputs": 3}}),
    ("post", "/v1/ready/detect-language", {"content": "{"}),
    ("post", "/v1/ready/read-text", {"files": {"file": white_png(64)}}),
    ("post", "/v1/ready/read-text", {"content": b"x", "headers": {"content-type": "image/png"}}),
    ("post", "/v1/ready/similar-items", {"json": {"inputs": "x", "parameters": {"items": ["a"]}}}),
    ("post", "/v1/ready/detect-language/hf", {"json": {"inputs": "Guten Morgen"}}),
    ("get", "/v1/ready/faces", {}),
    ("get", "/v1/ready/faces/default", {}),
    ("get", "/v1/ready/faces/Nobody's", {}),
    ("get", "/v1/ready/faces/nobody", {}),
    ("post", "/v1/ready/faces/default", {"json": {"person": "Ada"}}),
    ("post", "/v1/ready/faces/default", {"json": {"person": "Ada", "consent": "Form 7", "pictures": [PORTRAIT]}}),
    ("get", "/v1/ready/faces/default", {}),
    ("post", "/v1/ready/faces/default/forget", {"json": {"person": "Ada"}}),
    ("post", "/v1/ready/faces/default/forget", {"json": {"person": "Grace"}}),
    ("get", "/openai/v1/models", {}),
    ("get", "/openai/v1/models/nothing", {}),
    ("post", "/openai/v1/embeddings", {"json": {"input": 3}}),
    ("post", "/openai/v1/chat/completions", {"json": {}}),
    ("post", "/openai/v1/audio/transcriptions", {"content": b"x"}),
]


def test_responses_are_as_described(document, client):
    for method, path, how in REQUESTS:
        check(document, client.request(method, path, **how), method, path)


def test_what_is_described_as_wrong_is_refused(document, client):
    schema = document["paths"]["/v1/ready/detect-language"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    for body in (
        {},
        {"inputs": "x", "more": 1},
        {"inputs": "x", "parameters": {"top_k": 0}},
        {"inputs": [{"url": "x"}]},
    ):
        assert not Draft202012Validator(schema).is_valid(body), body
        assert client.post("/v1/ready/detect-language", json=body).status_code in (400, 422)


def test_a_job_without_prefect_is_refused_and_leaves_nothing(client, settings):
    body, headers = {"inputs": ["Guten Morgen"]}, {"prefer": "respond-async"}
    reply = client.post("/v1/ready/detect-language", json=body, headers=headers)
    assert reply.status_code == 503
    assert "treadle up" in reply.json()["detail"]
    assert not list((settings.ready_dir / "jobs").glob("*"))
