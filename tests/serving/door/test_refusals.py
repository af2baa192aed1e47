"""What is written down of those who came in, and of those who did not."""

from sqlalchemy import text
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.door.conftest import PREDICT, ROW, Door, access_of
from treadle.keys import Role, create_key
from treadle.ledger.audit import last, verify


def test_a_flood_of_wrong_keys_is_a_few_rows_that_count_them_all(installation):
    home = installation.home
    access = access_of(home)
    door = Door(access, home.settings)
    before = verify(home.ledger.engine).rows
    for n in range(3000):
        door.ask("POST", PREDICT, [(b"x-api-key", b"trd_%012d_" % n + b"A" * 43)])
        if n % 500 == 0:
            access.refusals.write()
    wrong = installation.keys["wrong"][0]
    door.ask("POST", PREDICT, [(b"x-api-key", wrong)])
    door.ask("POST", PREDICT, [(b"x-api-key", installation.keys["viewer"][0])])
    door.ask("GET", "/v1/models/other", [(b"x-api-key", installation.keys["viewer of toy"][0])])
    door.ask("GET", "/nowhere", [(b"x-api-key", installation.keys["viewer"][0])])
    access.stop()
    rows = [row for row in last(home.ledger.engine, 100) if row.seq > before]
    flood = [row for row in rows if row.what == "unknown key"]
    assert sum(row.times for row in flood) == 3000
    assert len(flood) == 2
    assert {(row.key_id, row.subject, row.outcome) for row in flood} == {
        (None, "POST /v1/models/{project}/predict", "denied")
    }
    others = {(row.key_id, row.what, row.subject) for row in rows if row not in flood}
    assert others == {
        (wrong[4:16].decode(), "wrong key", "POST /v1/models/{project}/predict"),
        (installation.keys["viewer"][0][4:16].decode(), "role", "POST /v1/models/{project}/predict"),
        (installation.keys["viewer of toy"][0][4:16].decode(), "project", "GET /v1/models/{project}"),
    }
    assert verify(home.ledger.engine, home.ledger.anchor).trouble is None


def test_refusals_wait_for_a_ledger_that_is_away(installation):
    home = installation.home
    access = access_of(home)
    with home.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_head RENAME TO gone"))
    for _ in range(5):
        access.refusals.note(None, "GET /", "no key")
        access.refusals.write()
    with home.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO audit_head"))
    access.refusals.write(everything=True)
    assert sum(row.times for row in last(home.ledger.engine, 9) if row.what == "no key") == 5


def test_many_kinds_of_refusal_are_counted_together(home):
    access = access_of(home)
    for n in range(2000):
        access.refusals.note(f"{n:012x}", "GET /", "role")
    access.refusals.write(everything=True)
    rows = last(home.ledger.engine, 3000)
    assert sum(row.times for row in rows if row.outcome == "denied") == 2000
    assert len(rows) < 600


def test_a_key_is_nowhere_after_it_was_used_right_and_wrong(home, caplog):
    caplog.set_level("DEBUG")
    _, secret = create_key(home.ledger, "a", Role.CALLER, "ann")
    part = secret[-43:]
    seen = []
    with TestClient(create_app(home.settings), raise_server_exceptions=False) as client:
        for headers in (
            {"authorization": f"Bearer {secret}"}, {"authorization": f"Bearer x{secret}"}, {"x-api-key": f"{secret}x"},
            {"authorization": f"Basic {secret}"}, {"cookie": f"treadle_session={secret}"}, {"x-request-id": f"{secret} "},
            {"host": secret, "x-api-key": secret}, {"origin": f"http://{secret}", "cookie": "treadle_session=1"},
        ):  # fmt: skip
            for method, path in (
                ("POST", PREDICT),
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
                ("DELETE", "/v1/models/toy"),
            ):
                seen.append(client.request(method, path, headers=headers, json={"rows": [ROW]}))
        seen += [client.post("/login", data={"key": secret}), client.get("/console.json"), client.get("/metrics")]
        seen += [client.post("/login", data={"key": f"{secret}-"}), client.post("/login", data={secret: ""})]
    assert {reply.status_code for reply in seen} >= {200, 400, 401, 403, 405}
    said = "".join(f"{reply.headers}{reply.text}" for reply in seen) + caplog.text
    home.ledger.engine.dispose()
    held = b"".join(path.read_bytes() for path in home.settings.home.rglob("*") if path.is_file())
    assert part not in said
    assert part.encode() not in held


def test_the_ledger_knows_which_key_gave_a_label(installation):
    key = installation.keys["caller"][0].decode()
    with TestClient(create_app(installation.home.settings), headers={"authorization": f"Bearer {key}"}) as client:
        given = client.post(PREDICT, json={"rows": [ROW]}).raise_for_status().json()["predictions"][0]
        body = {"labels": [{"id": given["id"], "label": 5.0}]}
        client.post("/v1/models/toy/feedback", json=body).raise_for_status()
    with installation.home.ledger.engine.connect() as connection:
        assert connection.execute(text("SELECT key_id FROM feedback")).scalars().all() == [key[4:16]]
