"""The guard around every request: the form of refusals, the fast lane, names, origins and ids."""

import asyncio
import itertools
import re

import httpx
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from serving.app import create_app
from serving.door.guard import Guard
from tests.serving.door.conftest import PREDICT, ROW, Door, Installation, access_of
from treadle.keys import Role, create_key, revoke_key


def test_health_tells_strangers_nothing_about_models(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        for headers in ({}, {"x-api-key": "wrong"}):
            assert client.get("/healthz", headers=headers).json() == {"status": "ok"}
            assert client.get("/readyz", headers=headers).json() == {"status": "ok"}


def test_refusals_have_their_form(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        reply = client.post(PREDICT, json={"rows": [ROW]})
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert len(reply.headers["x-request-id"]) >= 16
        reply = client.post("/v2/models/toy/infer", json={})
        assert (reply.status_code, set(reply.json())) == (401, {"error"})
        viewer = {"authorization": f"bearer {installation.keys['viewer'][0].decode()}"}
        assert client.post(PREDICT, json={}, headers=viewer).status_code == 403
        reply = client.get(PREDICT, headers=viewer)
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        page = client.get("/", headers={"accept": "text/html,*/*"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_a_websocket_is_refused_before_it_is_accepted(installation):
    with TestClient(create_app(installation.home.settings)) as client:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/nowhere"):
            pass
        assert refused.value.status_code == 401


def test_the_fast_lane_lets_in_whom_the_door_lets_in_and_nobody_else(installation):
    """The guard's quick look against its long one, for every kind of key and caller."""
    home = installation.home
    _, limited = create_key(home.ledger, "limited", Role.CALLER, "ann", rows_per_minute=9)
    keys = {name: key for name, (key, _, _) in installation.keys.items()} | {"limited": limited.encode()}
    guard = Guard(lambda *_: None, access_of(home), home.settings)
    door = Door(access_of(home), home.settings)
    asyncio.run(
        guard({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1")]}, None, sent_away)
    )
    entered = set()
    for (name, key), project, host in itertools.product(keys.items(), ("toy", "other"), (b"127.0.0.1", b"evil")):
        headers = [(b"host", host)] + ([] if key is None else [(b"x-api-key", key)])
        quick = guard.admit_at_once(headers, "127.0.0.1", project)
        slow = door.ask("POST", f"/v1/models/{project}/predict", headers[1:], host=host)
        assert (quick is not None) == (slow is None and name != "limited"), (name, project, host)
        if quick is not None:
            entered.add((name, project))
    assert ("caller of toy", "toy") in entered
    assert ("caller of toy", "other") not in entered
    good = (b"x-api-key", keys["caller"])
    for more in (
        (b"origin", b"http://127.0.0.1"),
        (b"cookie", b"a=b"),
        good,
        (b"host", b"127.0.0.1"),
        (b"host", b"evil"),
    ):
        assert guard.admit_at_once([(b"host", b"127.0.0.1"), good, more], None, "toy") is None


async def sent_away(_message):
    pass


@pytest.mark.e2e
def test_the_lane_over_real_sockets_asks_for_keys(installation, serve, eventually):
    """Small clean bodies, which the lane would take; an answer of the lane has no request id."""
    home = installation.home
    with serve(home.settings) as (_, address), httpx.Client(base_url=address) as client:

        def ask(name, project="toy"):
            headers = {"x-api-key": installation.keys[name][0].decode("latin-1")} if installation.keys[name][0] else {}
            return client.post(f"/v1/models/{project}/predict", json={"rows": [ROW]}, headers=headers)

        assert [ask("caller").status_code for _ in range(2)] == [200, 200]
        assert "x-request-id" not in ask("caller").headers
        for name, (_, role, projects) in installation.keys.items():
            if name not in ("long", "spaces", "bytes"):  # that no client can send
                for project in ("toy", "other"):
                    want = 401 if not role else 403 if role < Role.CALLER else 404 if projects is not None else 200
                    want = 200 if want == 404 and project in projects else want
                    assert ask(name, project).status_code == want, (name, project)
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"host": "evil"}).status_code == 400
        revoke_key(home.ledger, installation.keys["caller"][0][4:16].decode(), "ann")
        eventually(lambda: ask("caller").status_code == 401)


@pytest.mark.e2e
def test_the_lane_is_open_on_this_machine_until_there_is_a_key(home, serve, eventually):
    with serve(home.settings) as (_, address), httpx.Client(base_url=address) as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 200
        assert "x-request-id" not in client.post(PREDICT, json={"rows": [ROW]}).headers
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"host": "evil"}).status_code == 400
        assert client.post(PREDICT, json={"rows": [ROW]}, headers={"x-forwarded-for": "::1"}).status_code == 401
        create_key(home.ledger, "a", Role.VIEWER, "ann")
        eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).status_code == 401)


@pytest.mark.parametrize(
    "host", [b"127.0.0.1", b"localhost", b"LOCALHOST:8000", b"[::1]:80", b"testserver", b"127.0.0.1:1"]
)
def test_our_names_are_let_in(home, host):
    assert Door(access_of(home), home.settings).ask("GET", "/v1/models", host=host) is None


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"", None, b"127.0.0.1.evil.example", b"localhost.", b"localhost:80@evil", b"10.0.0.7", b"evil:8000",
     b"[::2]", b"127.0.0.1 ", b"localhost/", b"\xff", b"testserver,evil"],
)  # fmt: skip
def test_other_names_are_refused_with_and_without_a_key(installation, door, host):
    key = installation.keys["admin"][0]
    for headers in ([], [(b"x-api-key", key)]):
        assert door.ask("GET", "/v1/models", headers, host=host) == 400
        assert door.ask("GET", "/healthz", headers, host=host) == 400


def test_every_address_of_this_machine_is_a_name_of_an_open_host(make_home):
    home = Installation(make_home(host="0.0.0.0", allowed_hosts="ml.example, Other.Example")).home
    door = Door(access_of(home), home.settings)
    for host in (b"10.0.0.7:8000", b"[2001:db8::1]", b"ml.example", b"other.example:443", b"localhost"):
        assert door.ask("GET", "/healthz", host=host) is None
    assert door.ask("GET", "/healthz", host=b"evil.example") == 400


@pytest.mark.parametrize("name", [b"host", b"authorization", b"x-api-key", b"origin", b"cookie"])
def test_a_header_that_is_there_twice_is_refused(installation, door, name):
    headers = [(b"x-api-key", installation.keys["admin"][0]), (name, b"127.0.0.1"), (name, b"localhost")]
    assert door.ask("GET", "/v1/models", headers) == 400


EVIL = [
    b"https://evil.example",
    b"null",
    b"http://127.0.0.1:9",
    b"http://localhost",
    b"127.0.0.1",
    b"",
    b"file://127.0.0.1",
]


@pytest.mark.parametrize("origin", EVIL)
@pytest.mark.parametrize("method", ["POST", "WEBSOCKET"])
def test_pages_of_others_cannot_send_in_anybodys_name(home, origin, method):
    door = Door(access_of(home), home.settings)
    headers = [(b"origin", origin)]
    assert door.ask(method, PREDICT, headers) in (403, 1008)
    assert door.ask(method, "/login", headers) in (403, 1008)
    _, secret = create_key(home.ledger, "a", Role.CALLER, "ann")
    door.access.start()
    door.access.stop()
    session = door.access.open_session(secret.encode()).encode()
    cookie = (b"cookie", b"x=1; treadle_session=" + session)
    assert door.ask("GET", "/v1/models", [cookie]) is None
    assert door.ask("POST", PREDICT, [cookie, (b"origin", b"http://127.0.0.1")]) is None
    assert door.ask(method, PREDICT, [cookie, *headers]) in (403, 1008)
    assert door.ask("POST", PREDICT, [cookie]) == 403
    assert door.ask("POST", PREDICT, [(b"x-api-key", secret.encode()), *headers]) is None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("abc-123", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("a b", False),
        ("a\tb", False),
        ("<b>", False),
        ("", False),
    ],
)
def test_a_request_has_an_id(client, asked, kept):
    given = client.get("/healthz", headers={"x-request-id": asked}).headers["x-request-id"]
    assert (given == asked) is kept
    assert re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII)
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]
