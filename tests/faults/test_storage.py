"""What the service stands on fails: a locked, restarted, full, broken or absent store. Callers notice nothing, or a 503."""

import contextlib
import os
import sqlite3
import subprocess
import time

import pytest

from tests.faults.case import CANARY
from tests.faults.installation import MODEL, eventually, installation_of
from tests.faults.load import Load
from tests.faults.service import Service
from tests.faults.test_swaps import answers_of
from tests.faults.traffic import FEEDBACK, acknowledged, predicts
from treadle.ledger.journal import read_frames

RATE = 100.0


def judged(load: Load, row) -> None:
    """Nobody failed; the figures of a load."""
    failed = [o.reply for o in load.outcomes if o.reply.status != 200]
    row.note(requests=len(load.outcomes), failed=len(failed), worst_ms=load.figures().worst_ms)
    assert failed == []


def test_a_locked_ledger(installation, row, much):
    """the ledger is locked: answers go on, rows arrive when it is free"""
    locked_s = much(4, 30)
    database = installation.settings.state_dir / "ledger.db"
    with Service(installation.settings) as service:
        plain = Load(service.port, predicts((1, 20, 200)), rate=RATE)
        own = Load(service.port, predicts((1,), own_ids=1), rate=40.0)
        with plain, own:
            time.sleep(1)
            with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as holder:
                holder.execute("BEGIN EXCLUSIVE")
                time.sleep(locked_s)
                feedback = service.post(FEEDBACK, b'{"labels": [{"id": "%s", "label": 1}]}' % CANARY.encode())
                stalled = service.ready()[0]
                holder.execute("ROLLBACK")
            time.sleep(1)
        missing = installation.missing(acknowledged(plain.outcomes) | acknowledged(own.outcomes), deadline_s=60)
        log = service.log.read_text(errors="replace")
    statuses = own.figures().statuses
    row.note(seconds=locked_s, lost=len(missing), own_ids="+".join(f"{n}x{status}" for status, n in statuses.items()))
    judged(plain, row)
    assert missing == set()
    assert stalled == 200
    assert feedback.status in {404, 503}
    assert statuses.keys() <= {200, 503}  # whether an id is new cannot be known without the ledger
    assert all("retry-after" in o.reply.headers for o in own.outcomes if o.reply.status == 503)
    assert CANARY not in log
    assert "Traceback" not in log


def test_a_restarted_postgresql(tmp_path, postgresql, row, much):
    """PostgreSQL falls and comes back, under load"""
    installation = installation_of(tmp_path, ledger_url=postgresql.url)
    with Service(installation.settings, TREADLE_LEDGER_URL=postgresql.url) as service:
        with Load(service.port, predicts((1, 20, 200)), rate=RATE / 2) as load:
            for _ in range(much(1, 5)):
                time.sleep(1)
                postgresql.fall()
                time.sleep(much(2, 10))
                assert service.ready()[0] == 200
                row.count(answers_of(service) == 1)
                postgresql.start()
            time.sleep(1)
        missing = installation.missing(acknowledged(load.outcomes), deadline_s=60)
        eventually(lambda: service.ready()[1]["status"] == "ok")
        installation.register(2)
        installation.promote(2)
        eventually(lambda: answers_of(service) == 2)
    row.note(database=postgresql.name, lost=len(missing))
    judged(load, row)
    assert missing == set()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 MB, and its folder: what is answered in a minute, some 50 MB, has room on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk(tmp_path, small_disk, row, much):
    """the disk is full: refused with 503, nothing torn, well again when there is room"""
    installation = installation_of(small_disk)
    with Service(installation.settings) as service:
        service.log = tmp_path / "service.log"
        ballast = small_disk / "ballast"
        with Load(service.port, predicts((1, 20, 200), own_ids=5), rate=RATE) as load:
            for _ in range(much(1, 5)):
                time.sleep(1)
                with contextlib.suppress(OSError), ballast.open("wb") as file:
                    while True:
                        file.write(b"\0" * 65536)
                eventually(lambda: any(o.reply.status == 503 for o in load.outcomes[-50:]))
                well = service.get("/healthz").status == 200 and service.ready()[0] == 200
                ballast.unlink()
                emptied = len(load.outcomes)
                eventually(lambda emptied=emptied: len(load.outcomes) > emptied + 100)
                recovered = {o.reply.status for o in load.outcomes[-20:]} == {200}
                row.count(well and recovered)
        missing = installation.missing(acknowledged(load.outcomes), deadline_s=60)
        log = service.log.read_text(errors="replace") if service.log.exists() else ""
    with installation.ledger.engine.connect() as connection:
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
    figures = load.figures()
    row.note(statuses="+".join(f"{n}x{s}" for s, n in figures.statuses.items()), lost=len(missing), ledger=sound)
    assert figures.statuses.keys() <= {200, 503}
    assert all("retry-after" in o.reply.headers for o in load.outcomes if o.reply.status == 503)
    assert row.survived == row.tried
    assert missing == set()
    assert sound == "ok"
    assert "Traceback" not in log


def _locked(database):
    holder = sqlite3.connect(database, isolation_level=None, timeout=30)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")  # nobody can even read
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def _folder(database):
    kept = database.with_suffix(".kept")
    database.rename(kept)
    database.mkdir()
    return lambda: (database.rmdir(), kept.rename(database))


def _garbage(database):
    kept = database.with_suffix(".kept")
    database.rename(kept)
    database.write_bytes(os.urandom(100_000))
    return lambda: kept.replace(database)


def _absent(database):
    kept = database.with_suffix(".kept")
    database.rename(kept)
    return lambda: (
        [path.unlink(missing_ok=True) for path in database.parent.glob("ledger.db*") if path != kept]
        and (kept.rename(database))
    )


def _no_tables(database):
    def rename(*pairs):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.executescript("".join(f"ALTER TABLE {old} RENAME TO {new};" for old, new in pairs))

    rename(("champions", "away1"), ("versions", "away2"))
    return lambda: rename(("away1", "champions"), ("away2", "versions"))


ABSENCE = {
    "locked": _locked,
    "a folder in its place": _folder,
    "garbage in its place": _garbage,
    "gone": _absent,
    "without its tables": _no_tables,
}
"""What befell the ledger before the start; each returns what mends it."""
QUICK = {"a folder in its place", "gone"}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what in QUICK else pytest.mark.faults) for what in ABSENCE]
)
def test_a_start_without_the_ledger(installation, row, what):
    """a cold start without a ledger"""
    row.fault = f"a cold start, the ledger {what}: the last good copy answers"
    database = installation.settings.state_dir / "ledger.db"
    service = Service(installation.settings)
    with service.start():
        assert answers_of(service) == 1
        eventually(lambda: installation.count() == 1)
        assert service.terminate() == 0
    installation.ledger.engine.dispose()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    mend = ABSENCE[what](database)
    with service.start():
        with Load(service.port, predicts((1, 20)), rate=RATE / 2) as load:
            time.sleep(1)
        status, said = service.ready()
        row.note(answered=load.figures().good, readyz=said["status"])
        assert answers_of(service) == 1
        assert status == 200
        assert said["status"] == "degraded"
    mend()
    with service.start():
        eventually(lambda: service.ready()[1]["status"] == "ok")
        judged(load, row)
        missing = installation.missing(acknowledged(load.outcomes))
        row.note(lost=len(missing))
    assert missing == set()


def test_a_start_without_mlflow_and_prefect(installation, row):
    """a cold start with MLflow and Prefect unreachable, and no folder of theirs"""
    dead = "http://127.0.0.1:9"
    for path in installation.settings.mlruns_dir.glob("mlflow*"):
        path.unlink()
    environment = {"MLFLOW_TRACKING_URI": dead, "TREADLE_MLFLOW_TRACKING_URI": dead, "PREFECT_API_URL": f"{dead}/api"}
    with Service(installation.settings, **environment) as service:
        with Load(service.port, predicts((1, 20)), rate=RATE / 2) as load:
            time.sleep(1)
            installation.register(2)
            installation.promote(2)
            eventually(lambda: answers_of(service) == 2)
        assert service.ready()[1]["status"] == "ok"
    judged(load, row)


def test_a_journal_that_cannot_be_read_whole(installation, row):
    """a torn and a strange file among the journals at a start"""
    with Service(installation.settings) as service, Load(service.port, predicts((1, 20)), rate=RATE / 2) as load:
        time.sleep(1)
        service.kill()
    own = acknowledged(load.outcomes)
    journals = sorted(installation.settings.journal_dir.glob("*.journal"))
    for path in journals:
        with path.open("r+b") as file:
            file.seek(max((end for end, _ in read_frames(path.read_bytes())), default=0))
            file.write(b"\xff\x00\x00\x00half a frame")
    (installation.settings.journal_dir / "0-strange.journal").write_bytes(os.urandom(5_000))
    (installation.settings.journal_dir / "note.txt").write_text("not a journal")
    with service.start():
        assert answers_of(service) == 1
        missing = installation.missing(own)
        assert "Traceback" not in service.log.read_text(errors="replace")
    row.note(acknowledged=len(own), lost=len(missing), journals=len(journals), model=MODEL)
    assert missing == set()
