"""Alerts over HTTP and in the console; and what the service itself raises: a champion that it refuses to serve."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from tests.browser import needs_browser, open_browser
from treadle.alerting.alerts import Notice
from treadle.keys import Role, create_key
from treadle.ledger import AlertBook
from treadle.ledger.audit import last

AT = datetime(2011, 4, 1, tzinfo=UTC)
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def raise_drift(home, model="toy", page="http://elsewhere:1/reports/toy/looks/1.html"):
    notice = Notice("drift", "", "warning", f"Inputs moved: {ATTACK}", (ATTACK,), (), page)
    return AlertBook(home.ledger).follow_look(model, "drift", [notice], AT, 2)


@pytest.fixture
def client(home):
    with TestClient(create_app(home.settings)) as client:
        yield client


def test_alerts_are_listed_taken_and_silenced_and_the_audit_knows_who(home, client):
    seq = raise_drift(home)
    (alert,) = client.get("/v1/models/toy/alerts").json()
    assert (alert["id"], alert["kind"], alert["times"], alert["state"]) == (seq, "drift", 1, "open")
    taken = client.post(f"/v1/models/toy/alerts/{seq}/acknowledge")
    assert taken.json() == {"alert": seq, "acknowledged_by": "local"}
    assert client.post("/v1/models/toy/alerts/silence?hours=2&kind=drift").status_code == 200
    (alert,) = client.get("/v1/models/toy/alerts").json()
    assert alert["acknowledged_by"] == "local"
    until = datetime.fromisoformat(alert["silenced_until"])
    assert timedelta(hours=1.9) < until - datetime.now(UTC) < timedelta(hours=2.1)
    assert client.post("/v1/models/toy/alerts/silence?hours=0&kind=drift").json()["until"] is None
    assert client.get("/v1/models/toy/alerts").json()[0]["silenced_until"] is None
    assert [row.what for row in last(home.ledger.engine, 3)] == ["alert acknowledged", *["alerts silenced"] * 2]


@pytest.mark.parametrize(("path", "status"), [
    ("toy/alerts/999/acknowledge", 404), ("toy/alerts/x/acknowledge", 422), (f"toy/alerts/{10**30}/acknowledge", 422),
    ("toy/alerts/-1/acknowledge", 422), ("toy/alerts/silence", 422), ("toy/alerts/silence?hours=nan", 422),
    ("toy/alerts/silence?hours=1e9", 422), ("toy/alerts/silence?hours=1&kind=rain", 422), ("other/alerts/1/acknowledge", 404),
])  # fmt: skip
def test_what_cannot_be_is_a_problem(home, client, path, status):
    raise_drift(home)
    reply = client.post(f"/v1/models/{path}")
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_key_sees_and_changes_what_its_role_and_projects_allow(home, client):
    seq = raise_drift(home)
    keys = {}
    for role in (Role.VIEWER, Role.TRAINER):
        for project in ("toy", "other"):
            _, key = create_key(home.ledger, f"{role.name} of {project}", role, "ann", projects=[project])
            keys[role, project] = {"Authorization": f"Bearer {key}"}
    client.app.state.parts.access.refresh()
    path = f"/v1/models/toy/alerts/{seq}/acknowledge"
    assert client.get("/v1/models/toy/alerts", headers=keys[Role.VIEWER, "toy"]).status_code == 200
    assert client.get("/v1/models/toy/alerts", headers=keys[Role.VIEWER, "other"]).status_code == 404
    assert client.post(path, headers=keys[Role.VIEWER, "toy"]).status_code == 403
    assert client.post(path, headers=keys[Role.TRAINER, "other"]).status_code == 404
    shown = client.get("/console.json", headers=keys[Role.VIEWER, "other"]).json()
    assert (shown["alerts"], shown["may_change"]) == ([], False)
    assert client.post(path, headers=keys[Role.TRAINER, "toy"]).json()["acknowledged_by"] == "TRAINER of toy"


@needs_browser
def test_the_console_shows_open_alerts_as_text_and_its_button_takes_one(home, serve, tmp_path):
    raise_drift(home)
    raise_drift(home, "not-trained-yet", None)
    with serve(home.settings) as (_, address), open_browser(tmp_path) as tab:
        tab.open(f"{address}/")
        tab.wait(lambda: tab.evaluate("document.querySelectorAll('section button').length") == 2)
        shown = tab.evaluate("document.querySelector('section').innerText")
        assert "not-trained-yet: the data moved" in shown
        assert ATTACK in shown
        assert tab.evaluate("document.querySelector('section a').getAttribute('href')") == "/reports/toy/looks/1.html"
        tab.evaluate("document.querySelector('section button').click()")
        tab.wait(lambda: "acknowledged by local" in tab.evaluate("document.querySelector('section').innerText"))
        assert tab.evaluate("document.querySelectorAll('section button').length") == 1
        assert tab.dialogs == []
        assert (
            len([a for a in httpx.get(f"{address}/v1/models/not-trained-yet/alerts").json() if a["acknowledged"]]) == 1
        )


def test_a_harmed_champion_is_an_alert_until_its_bundle_is_mended(home, serve, eventually):
    book = AlertBook(home.ledger)
    onnx = home.settings.bundles_dir / "toy" / "1" / "model.onnx"
    whole = onnx.read_bytes()
    onnx.write_bytes(whole[:-1] + b"x")
    with serve(home.settings):
        eventually(lambda: [(a.kind, a.subject) for a in book.list()] == [("not-served", "version 1")])
        (alert,) = book.list()
        assert (alert.severity, "changed" in alert.reason) == ("critical", True)
    onnx.write_bytes(whole)
    with serve(home.settings):  # another start: nobody in this process has refused it
        eventually(lambda: book.list() == [])
    home.register(version=2)
    home.promote(version=2)
    assert book.list(resolved=True)[0].times == 1
