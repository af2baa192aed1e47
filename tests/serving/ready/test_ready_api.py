"""The own API of ready models: every form of a request, what each answer says, what is refused and what it leaves behind."""

import base64
import io
import struct
import wave

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.keys import Role, create_key
from treadle.ledger import ANSWERED, Ledger
from treadle.settings import Settings

pytestmark = pytest.mark.xdist_group("ready")
READ = "/v1/ready/read-text"
LANGUAGE = "/v1/ready/detect-language"
GERMAN = "Der Zug nach Wien fährt um neun Uhr."


def lines(reply):
    assert reply.status_code == 200, reply.text
    return reply.json()["answers"][0]["text"].splitlines()


def test_the_list_says_what_is_here(client):
    said = client.get("/v1/ready").json()["capabilities"]
    (model,) = next(row["models"] for row in said if row["capability"] == "read-text")
    assert model["installed"] is True
    assert model["licence"] == "Apache-2.0"
    one = client.get("/v1/ready/similar-items").json()
    assert one["takes"] == "text"
    assert one["parameters"]["$defs"]["Items"]["required"] == ["items"]
    assert client.get("/v1/ready/red-text").status_code == 404


@pytest.mark.parametrize("form", ["form", "file alone", "JSON", "data URL"])
def test_a_picture_comes_in_every_form(client, invoice, form):
    text = base64.b64encode(invoice).decode()
    how = {
        "form": {"files": {"file": ("x.png", invoice)}, "data": {"min_score": "0.3"}},
        "file alone": {"content": invoice, "headers": {"content-type": "image/png"}, "params": {"min_score": "0.3"}},
        "JSON": {"json": {"inputs": [text], "parameters": {"min_score": 0.3}}},
        "data URL": {"json": {"inputs": f"data:image/png;base64,{text}"}},
    }[form]
    assert lines(client.post(READ, **how)) == ["Invoice 4711", "Total 99.50"]


def test_an_answer_names_its_model_and_its_cost_is_in_the_ledger(client, calls):
    reply = client.post(
        LANGUAGE, json={"inputs": [GERMAN, "Bonjour tout le monde"]}, headers={"x-request-id": "one-call"}
    )
    said = reply.json()
    assert [answer["language"] for answer in said["answers"]] == ["de", "fr"]
    assert (said["model"], said["version"], said["licence"]) == ("py3langid", "0.4.0", "BSD-3-Clause")
    assert said["id"] == "one-call"
    (call,) = [call for call in calls.newest("detect-language") if call.id == "one-call"]
    assert (call.outcome, call.inputs, call.who, call.client) == (ANSWERED, 2, "local", "own")
    assert call.cpu_seconds == pytest.approx(said["cpu_seconds"])
    assert 0 < call.confidence <= 1
    assert {name: call.facts[name] for name in ("characters", "words")} == {
        "characters": (len(GERMAN) + 21) / 2,
        "words": 6.0,
    }
    metrics = client.get("/metrics").text
    assert 'treadle_ready_requests_total{capability="detect-language",ready_model="py3langid",status="200"}' in metrics


def test_what_failed_is_in_the_ledger_too(client, calls):
    assert client.post(READ, content=b"no picture", headers={"content-type": "image/png"}).status_code == 422
    assert calls.newest("read-text", 1)[0].outcome == "Bad input"


def wav_that_lies():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * 100)
    content = bytearray(out.getvalue())
    content[40:44] = struct.pack("<I", 0x7FFFFFF0)
    return bytes(content)


def bombs():
    """Small uploads that would become large."""
    from PIL import Image

    wide, still = io.BytesIO(), io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(wide, "PNG")
    frames = [Image.new("P", (2, 2), number % 2) for number in range(10_000)]
    frames[0].save(still, "GIF", save_all=True, append_images=frames[1:], optimize=False, disposal=2)
    return {"pixels": (wide.getvalue(), 413), "frames": (still.getvalue(), 413), "a lying WAV": (wav_that_lies(), 422)}


def test_bombs_are_refused_and_do_no_harm(client, invoice):
    for name, (content, status) in bombs().items():
        reply = client.post(READ, files={"file": content})
        assert reply.status_code == status, (name, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
    for path in (LANGUAGE, "/v1/ready/embed-text"):
        reply = client.post(path, json={"inputs": "x" * 10_000_000})
        assert reply.status_code == 413
        assert len(reply.content) < 1000
    assert client.post(LANGUAGE, content=b"x" * 60_000_000, headers={"content-type": "text/plain"}).status_code == 413
    assert lines(client.post(READ, files={"file": invoice})) == ["Invoice 4711", "Total 99.50"]


BAD = {
    "not JSON": ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
    "no inputs": ({"json": {}}, 400),
    "an unknown key": ({"json": {"inputs": "x", "input": "y"}}, 400),
    "an unknown parameter": ({"json": {"inputs": "x", "parameters": {"languages": 3}}}, 422),
    "a parameter of the wrong kind": ({"json": {"inputs": "x", "parameters": {"top_k": "many"}}}, 422),
    "a parameter out of range": ({"json": {"inputs": "x", "parameters": {"top_k": 0}}}, 422),
    "an empty list": ({"json": {"inputs": []}}, 422),
    "too many": ({"json": {"inputs": ["x"] * 65}}, 413),
    "a number": ({"json": {"inputs": [17]}}, 422),
    "null": ({"json": {"inputs": None}}, 422),
    "a strange model": ({"json": {"inputs": "x", "model": "gpt-9"}}, 404),
    "no text": ({"json": {"inputs": "   "}}, 422),
    "bytes": ({"content": b"\xff\xfe", "headers": {"content-type": "text/plain"}}, 400),
    "a form of nothing": ({"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400),
    "a form without boundary": ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400),
    "another type": ({"content": b"x", "headers": {"content-type": "application/xml"}}, 415),
    "half a surrogate": ({"content": b'{"inputs": "\\ud800"}', "headers": {"content-type": "application/json"}}, 400),
    "deep": ({"content": b'{"inputs":' + b"[" * 5000, "headers": {"content-type": "application/json"}}, 400),
    "a stream of what does not": ({"json": {"inputs": "x", "stream": True}}, 406),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_a_problem(client, name):
    how, status = BAD[name]
    reply = client.post(LANGUAGE, **how)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status


def test_files_as_texts_and_texts_as_files(client):
    assert client.post(READ, json={"inputs": "not base64!"}).status_code == 422
    assert client.post(READ, json={"inputs": {"url": "https://example.org/x.png"}}).status_code == 422
    assert client.post(READ, content=b"text", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post(LANGUAGE, files={"file": b"\x89PNG"}).status_code == 422
    form = {"input": (None, GERMAN), "top_k": (None, "1")}
    assert client.post(LANGUAGE, files=form).json()["answers"][0]["language"] == "de"


def test_keys_roles_and_limits_hold(tmp_path):
    settings = Settings(home=tmp_path, allowed_hosts="testserver", swap_poll_s=0.05)
    ledger = Ledger.open(settings)
    _, viewer = create_key(ledger, "viewer", Role.VIEWER, who="test")
    known, caller = create_key(ledger, "caller", Role.CALLER, who="test", rows_per_minute=3)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:

        def ask(key, texts):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return client.post(LANGUAGE, json={"inputs": texts}, headers=headers).status_code

        assert ask(None, [GERMAN]) == 401
        assert ask(viewer, [GERMAN]) == 403
        assert ask(caller, [GERMAN] * 3) == 200
        assert ask(caller, [GERMAN]) == 429
        assert client.get("/v1/ready", headers={"x-api-key": viewer}).status_code == 200
    from treadle.ledger import ReadyCalls

    (call,) = ReadyCalls(ledger).newest()
    assert call.who == "caller"
    assert call.key_id == known.id
