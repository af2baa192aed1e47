import shutil
import threading

import numpy as np
import pytest
from nacl.signing import SigningKey
from sqlalchemy import select
from starlette.testclient import TestClient

from serving.app import create_app
from serving.models import champions as champions_module
from serving.models.champions import Champions
from treadle.ledger.tables import audit
from treadle.models.bundle import MODEL
from treadle.models.signing import signing_dir

ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
PREDICT = "/v1/models/toy/predict"


def served(client) -> int:
    return client.get("/v1/models/toy").json()["version"]


def test_a_new_model_and_a_new_version_answer_without_a_restart(make_home, eventually):
    home = make_home()
    with TestClient(create_app(home.settings)) as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 404
        home.register()
        home.promote()
        eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).status_code == 200)
        home.register(version=2)
        home.promote(version=2)
        eventually(lambda: served(client) == 2)
        assert client.get("/v1/models/toy").json()["previous"] == 1
        home.ledger.rollback("toy")
        eventually(lambda: served(client) == 1)


def test_swaps_under_load_fail_nothing_and_mix_nothing(client, home, eventually):
    for version in range(2, 12):
        home.register(version=version)
    digests = {version: home.ledger.version("toy", version).digest for version in range(1, 12)}
    stop, wrong, seen = threading.Event(), [], set()

    def call() -> None:
        while not stop.is_set():
            reply = client.post(PREDICT, json={"rows": [ROW] * 20})
            body = reply.json()
            answers = [p["prediction"] for p in body.get("predictions", [])]
            version = body.get("version")
            wanted = [13.5 + 1000 * (version or 0)] * 20
            if reply.status_code != 200 or not np.allclose(answers, wanted) or body["digest"] != digests[version]:
                wrong.append(body)
            seen.add(version)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for version in range(2, 12):
        home.promote(version=version)
        eventually(lambda version=version: version in seen)
    stop.set()
    for caller in callers:
        caller.join()
    assert wrong == []


def flip(folder) -> None:
    content = bytearray((folder / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / MODEL).write_bytes(content)


def link(folder) -> None:
    (folder / MODEL).rename(folder.parent / "elsewhere")
    (folder / MODEL).symlink_to(folder.parent / "elsewhere")


def sign_as_a_stranger(folder) -> None:
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(SigningKey.generate().sign(content).signature)


HARM = {
    "one bit flipped": flip,
    "cut short": lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-10]),
    "file gone": lambda folder: (folder / MODEL).unlink(),
    "manifest edited": lambda folder: (folder / "manifest.json").write_text("{}"),
    "folder gone": shutil.rmtree,
    "a link": link,
    "a file added": lambda folder: (folder / "weights.bin").write_bytes(b"more"),
    "signature gone": lambda folder: (folder / "manifest.sig").unlink(),
    "signed by a stranger": sign_as_a_stranger,
    "the other version's signature": lambda folder: shutil.copy(folder.parent / "1" / "manifest.sig", folder),
    "the other version's files": lambda folder: shutil.copytree(folder.parent / "1", folder, dirs_exist_ok=True),
}


def audited(home) -> list:
    with home.ledger.engine.connect() as connection:
        return [row for row in connection.execute(select(audit)) if row.what == "bundle refused"]


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_version_leaves_the_old_one_serving_and_says_so(client, home, eventually, harm):
    HARM[harm](home.register(version=2))
    home.promote(version=2)
    eventually(lambda: client.get("/readyz").json()["status"] == "degraded")
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert "toy" in ready.json()["degraded"]
    assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1
    (listed,) = client.get("/v1/models").json()
    assert (listed["version"], listed["champion"]) == (1, 2)
    assert listed["degraded"] == ready.json()["degraded"]["toy"]
    assert "treadle_degraded 1.0" in client.get("/metrics").text
    (refused,) = audited(home)
    assert (refused.who, refused.what, refused.subject) == ("serving", "bundle refused", "toy/2")


def test_a_version_that_answers_otherwise_than_registered_is_not_served(client, home, eventually):
    home.register(version=2, smoke=1.0)
    home.promote(version=2)
    eventually(lambda: "toy" in client.get("/readyz").json()["degraded"])
    assert "does not give the answers" in client.get("/readyz").json()["degraded"]["toy"]
    home.register(version=3)
    home.promote(version=3)
    eventually(lambda: served(client) == 3)
    assert client.get("/readyz").json()["degraded"] == {}


def test_a_harmed_version_is_not_read_again_at_every_look(home, caplog):
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    flip(home.register(version=2))
    home.promote(version=2)
    for _ in range(5):
        champions.refresh()
        assert "was changed" in champions.troubles["toy"]
    assert sum("is not served" in record.message for record in caplog.records) == 1


def test_a_version_that_stays_harmed_is_audited_once(home, monkeypatch):
    monkeypatch.setattr(champions_module, "RETRY_S", 0.0)
    champions = Champions(home.settings, home.ledger)
    flip(home.register(version=2))
    home.promote(version=2)
    for _ in range(4):
        champions.refresh()
    assert [row.subject for row in audited(home)] == ["toy/2"]


def test_bundles_from_before_signatures_are_served_after_the_upgrade(home):
    folder = home.settings.bundles_dir / "toy" / "1"
    (folder / "manifest.sig").unlink()
    shutil.rmtree(signing_dir(home.settings))
    with TestClient(create_app(home.settings)) as client:
        assert served(client) == 1
        assert client.get("/readyz").json()["degraded"] == {}
    (folder / "manifest.sig").unlink()
    with TestClient(create_app(home.settings)) as client:
        assert client.get("/v1/models/toy").status_code == 503
        assert "treadle sign" in client.get("/readyz").json()["degraded"]["toy"]


def test_a_replica_with_only_public_keys_serves(home):
    (signing_dir(home.settings) / "private.pem").unlink()
    with TestClient(create_app(home.settings)) as client:
        assert served(client) == 1
    assert not (signing_dir(home.settings) / "private.pem").exists()


def test_a_restart_on_a_harmed_champion_serves_the_one_before_it(home):
    flip(home.register(version=2))
    home.promote(version=2)
    with TestClient(create_app(home.settings)) as client:
        assert client.post(PREDICT, json={"rows": [ROW]}).json()["version"] == 1
        (listed,) = client.get("/v1/models").json()
        assert (listed["version"], listed["champion"]) == (1, 2)
        assert "was changed" in listed["degraded"]


def test_a_harmed_first_version_is_shown_and_served_once_it_is_mended(make_home, monkeypatch, eventually):
    monkeypatch.setattr(champions_module, "RETRY_S", 0.1)
    home = make_home()
    folder = home.register()
    whole = (folder / MODEL).read_bytes()
    flip(folder)
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        reply = client.post(PREDICT, json={"rows": [ROW]})
        assert reply.status_code == 503
        assert "was changed" in reply.json()["detail"]
        (listed,) = client.get("/v1/models").json()
        assert (listed["version"], listed["champion"]) == (None, 1)
        assert client.get("/console.json").status_code == 200
        (folder / MODEL).write_bytes(whole)
        eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).status_code == 200)


def test_what_is_served_outlives_the_ledger(home):
    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    with home.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE versions RENAME TO gone")
    champions.refresh()
    assert champions.get("toy").version == 1
    assert "ledger" in champions.troubles
    with home.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO versions")
    champions.refresh()
    assert champions.troubles == {}


def test_a_model_that_was_reset_is_let_go(client, home, eventually):
    home.ledger.forget("toy")
    eventually(lambda: client.post(PREDICT, json={"rows": [ROW]}).status_code == 404)
    assert 'treadle_served_version{model="toy"}' not in client.get("/metrics").text
