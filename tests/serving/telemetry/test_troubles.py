"""A service that answers says what is degraded."""

import sqlite3

import pytest
from sqlalchemy import event

from serving.telemetry import troubles
from tests.serving.conftest import ROW

PREDICT = "/v1/models/toy/predict"
MANY = {"rows": [ROW] * 900}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(troubles, "WAITS_S", 0.5)


def _answers(client, times=1):
    assert [client.post(PREDICT, json=MANY).status_code for _ in range(times)] == [200] * times


def test_a_ledger_whose_disk_is_full_is_told_while_answers_wait(client, home, eventually):
    pages = [1]  # of fewer than there are SQLite makes as many as there are

    def cap(connection, _record, _proxy):
        connection.execute(f"PRAGMA max_page_count={pages[0]}")

    eventually(lambda: client.get("/readyz").json()["status"] == "ok")
    event.listen(client.app.state.parts.ledger.engine, "checkout", cap)
    _answers(client, 5)
    eventually(lambda: client.get("/readyz").json()["status"] == "degraded")
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert "Its disk is full" in ready.json()["degraded"]["ledger"]
    assert "Its disk is full" in client.get("/console.json").json()["degraded"]["ledger"]
    _answers(client)
    pages[0] = 1 << 30
    eventually(lambda: client.get("/readyz").json() == {"status": "ok", "models": ["toy"], "degraded": {}})
    assert len(home.ledger.window("toy", 10_000)) == 5_400


def test_a_ledger_that_is_locked_for_longer_is_told_and_one_that_is_free_again_is_not(client, home, eventually):
    eventually(lambda: client.get("/readyz").json()["status"] == "ok")
    holder = sqlite3.connect(home.settings.state_dir / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    _answers(client)
    eventually(lambda: "locked" in client.get("/readyz").json()["degraded"].get("ledger", ""))
    holder.execute("ROLLBACK")
    holder.close()
    eventually(lambda: client.get("/readyz").json()["status"] == "ok")
