"""Sessions of browsers."""

from starlette.testclient import TestClient

from serving.app import create_app
from treadle.keys import Role, create_key, revoke_key


def test_a_browser_signs_in_and_out(installation, eventually):
    home = installation.home
    key, secret = create_key(home.ledger, "browser", Role.VIEWER, "ann")
    with TestClient(create_app(home.settings), follow_redirects=False) as client:
        assert 'role="alert" hidden' in client.get("/login").text
        wrong = client.post("/login", data={"key": "nonsense"})
        assert wrong.status_code == 401
        assert 'role="alert" hidden' not in wrong.text
        assert "set-cookie" not in wrong.headers
        reply = client.post("/login", data={"key": f" {secret} "}, headers={"origin": "http://testserver"})
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        cookie = reply.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert secret not in cookie
        assert secret[-43:] not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/console.json").json()["signed_in"] is True
        session = client.cookies["treadle_session"]
        client.post("/logout", headers={"origin": "http://testserver"})
        assert client.get("/console.json").status_code == 401
        client.cookies.set("treadle_session", session)
        assert client.get("/console.json").status_code == 200
        revoke_key(home.ledger, key.id, "ann")
        eventually(lambda: client.get("/console.json").status_code == 401)


def test_sessions_cannot_be_made_up(installation, door):
    access = door.access
    access.start()
    access.stop()
    good = access.open_session(installation.keys["viewer"][0])
    key_id, until, signature = good.split(".")
    other = installation.keys["admin"][0][4:16].decode()
    for value in (
        "", ".", "..", key_id, f"{key_id}.{until}", f"{key_id}.{until}.", f"{key_id}.{int(until) + 1}.{signature}",
        f"{other}.{until}.{signature}", f"{key_id}.{until}.{signature[:-1]}", f"{key_id}.{'9' * 20}.{signature}",
        f"{key_id}.1.{signature}", f"{key_id}.-1.{signature}", f"{key_id}.\xb2.{signature}",
    ):  # fmt: skip
        cookie = [(b"cookie", b"treadle_session=" + value.encode("latin-1"))]
        assert door.ask("GET", "/v1/models", cookie) == 401, value
    assert door.ask("GET", "/v1/models", [(b"cookie", b"treadle_session=" + good.encode())]) is None


def test_a_session_ends_with_time(installation, door, monkeypatch):
    monkeypatch.setattr("serving.door.access.SESSION_S", -1)
    door.access.start()
    door.access.stop()
    value = door.access.open_session(installation.keys["viewer"][0])
    assert door.ask("GET", "/v1/models", [(b"cookie", b"treadle_session=" + value.encode())]) == 401
