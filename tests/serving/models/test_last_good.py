"""A cold start while the ledger cannot be reached: what was served last answers, until the ledger is back."""

import json
import sqlite3

import httpx
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.door.access import Access
from serving.models.champions import Champions
from serving.models.last_good import LastGood
from treadle.errors import Unavailable
from treadle.models.bundle import MODEL

ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
PREDICT = "/v1/models/toy/predict"


def note(home):
    return home.settings.state_dir / "serving" / "last-good.json"


def database(home):
    return home.settings.state_dir / "ledger.db"


@pytest.fixture
def served_before(home):
    """A home whose service ran once, with its ledger's file gone since: a folder is in its place."""
    Champions(home.settings, home.ledger).refresh()
    Access(home.settings, home.ledger).refresh()
    home.ledger.engine.dispose()
    database(home).rename(database(home).with_name("away.db"))
    database(home).mkdir()
    return home


def bring_back(home):
    database(home).rmdir()
    database(home).with_name("away.db").rename(database(home))


def test_it_names_what_is_served_and_is_written_only_on_change(home, eventually):
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    version = home.ledger.version("toy", 1)
    assert json.loads(note(home).read_text()) == {
        "toy": {"version": 1, "bundle": "mlruns/bundles/toy/1", "digest": version.digest}
    }
    before = note(home).stat().st_ino
    champions.refresh()
    assert note(home).stat().st_ino == before
    home.register(version=2)
    home.promote(version=2)
    champions.refresh()
    assert json.loads(note(home).read_text())["toy"]["version"] == 2
    assert [path.name for path in note(home).parent.iterdir()] == ["last-good.json"]


def test_a_cold_start_without_the_ledger_serves_and_recovers(served_before, eventually):
    champions = Champions(served_before.settings, _ledger(served_before))
    champions.start()
    try:
        assert champions.get("toy").version == 1
        assert "last good copy" in champions.troubles["ledger"]
        bring_back(served_before)
        eventually(lambda: champions.troubles == {})
        assert champions.get("toy").version == 1
    finally:
        champions.stop()


def _ledger(home):
    from serving.models.last_good import open_ledger

    return open_ledger(home.settings)


def test_the_service_starts_degraded_and_is_whole_again_when_the_ledger_is(served_before, eventually):
    with TestClient(create_app(served_before.settings), raise_server_exceptions=False) as client:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["models"] == ["toy"]
        assert "ledger" in ready.json()["degraded"]
        bring_back(served_before)
        eventually(lambda: client.get("/readyz").json()["status"] == "ok")
        assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1


def test_a_cold_start_on_a_locked_ledger_does_not_wait_for_the_lock(home, serve, eventually):
    Champions(home.settings, home.ledger).refresh()
    Access(home.settings, home.ledger).refresh()
    home.ledger.engine.dispose()
    lock = sqlite3.connect(database(home), isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")
    with serve(home.settings) as (_, address):
        ready = httpx.get(f"{address}/readyz").json()
        assert ready["models"] == ["toy"]
        assert "ledger" in ready["degraded"]
        lock.close()
        eventually(lambda: httpx.get(f"{address}/readyz").json()["status"] == "ok")


def test_the_last_good_copy_is_verified_like_any_other(served_before):
    model = served_before.settings.bundles_dir / "toy" / "1" / MODEL
    content = bytearray(model.read_bytes())
    content[50] ^= 1
    model.write_bytes(content)
    champions = Champions(served_before.settings, _ledger(served_before))
    champions.start()
    champions.stop()
    assert "was changed" in champions.troubles["toy"]
    with pytest.raises(Unavailable):
        champions.get("toy")


def test_a_note_that_cannot_be_read_or_written_stops_nothing(home, caplog):
    note(home).parent.mkdir(parents=True)
    note(home).write_text('{"toy": 1}')
    assert not LastGood(home.settings).is_kept
    note(home).unlink()
    note(home).mkdir()
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    champions.refresh()
    assert champions.get("toy").version == 1
    assert sum("was not noted" in record.message for record in caplog.records) == 1
