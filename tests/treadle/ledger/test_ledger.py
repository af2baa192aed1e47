"""The ledger's promises, on SQLite and on PostgreSQL through the same tests."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from treadle.errors import Conflict, NotFound, Unavailable
from treadle.ledger import DecisionRow, Feedback, Ledger, Prediction, Version
from treadle.ledger.database import HEAD

NOW = datetime(2011, 4, 1, tzinfo=UTC)


def register(ledger, *numbers, model="m"):
    for number in numbers:
        ledger.add_version(Version(model, number, "run", f"b/{number}", "d" * 64, "linear", {}, {}, None))


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


def test_labels_after_a_swap_come_oldest_first_and_no_more_than_wanted(ledger):
    ledger.add_predictions(predictions(10))
    ledger.add_feedback("m", [Feedback(f"p{i}", float(i), NOW + timedelta(hours=i + 2)) for i in range(10)])
    rows = ledger.labelled_after("m", 1, NOW + timedelta(hours=3), NOW + timedelta(hours=9), 3)
    assert [row.id for row in rows] == ["p4", "p5", "p6"]
    known = ledger.labelled_after("m", 1, NOW + timedelta(hours=3), NOW + timedelta(hours=7), 100)
    assert [row.id for row in known] == ["p4", "p5"]
    assert ledger.labelled_after("m", 2, NOW, NOW + timedelta(hours=9), 3) == []


def test_labelled_rows_of_one_version_or_of_any_after_a_moment(ledger):
    ledger.add_predictions(predictions(6))
    ledger.add_predictions([Prediction(f"v{i}", "m", 2, NOW + timedelta(hours=i), "{}", "{}") for i in (1, 8)])
    ids = [*(f"p{i}" for i in range(6)), "v1", "v8"]
    ledger.add_feedback("m", [Feedback(name, 1.0, NOW + timedelta(hours=9)) for name in ids])
    after = NOW + timedelta(hours=3)
    assert [row.id for row in ledger.labelled("m", version=2)] == ["v1", "v8"]
    assert [row.id for row in ledger.labelled("m", version=2, or_after=after)] == ["v1", "p4", "p5", "v8"]
    assert [row.id for row in ledger.labelled("m", version=2, or_after=after, newest=2)] == ["p5", "v8"]
    assert ledger.labelled("m", until=NOW, version=2, or_after=after) == []


def test_the_swap_that_made_the_champion_is_known(ledger):
    register(ledger, 1, 2)
    assert ledger.last_promotion("m") is None
    ledger.promote("m", 1, None, reason="first", at=NOW)
    ledger.promote("m", 2, 1, reason="better", at=NOW + timedelta(hours=1))
    swap = ledger.last_promotion("m")
    assert (swap.version, swap.from_version, swap.fence, swap.verdict) == (2, 1, 2, "promoted")
    assert (swap.reason, swap.at) == ("better", NOW + timedelta(hours=1))


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
    with pytest.raises(error, match=r"^Label 1 ") as told:
        ledger.add_feedback("m", [Feedback("p2", 1.0, NOW), bad])
    assert bad.id not in str(told.value)
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
    register(ledger, 1, 2)
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


def test_what_is_not_registered_or_serves_already_is_not_promoted(ledger):
    register(ledger, 1)
    with pytest.raises(NotFound, match="no version 2"):
        ledger.promote("m", 2, None, reason="never registered")
    assert ledger.champion("m") is None
    ledger.promote("m", 1, None, reason="first")
    with pytest.raises(Conflict, match="already"):
        ledger.promote("m", 1, 1, reason="again")
    with pytest.raises(NotFound, match="no version 2"):
        ledger.promote("m", 2, 1, reason="never registered")
    assert ledger.champion("m").fence == 1


def test_what_serves_or_would_after_a_rollback_is_not_deleted(ledger):
    register(ledger, 1, 2, 3)
    ledger.promote("m", 1, None, reason="first")
    ledger.promote("m", 2, 1, reason="better")
    for held in (1, 2):
        with pytest.raises(Conflict, match=f"Version {held}"):
            ledger.remove_version("m", held)
    ledger.remove_version("m", 3)
    assert [version.version for version in ledger.versions("m")] == [2, 1]
    with pytest.raises(NotFound):
        ledger.remove_version("m", 3)


def test_rollback_without_a_past(ledger):
    register(ledger, 1)
    ledger.promote("m", 1, None, reason="first")
    with pytest.raises(NotFound, match="no previous"):
        ledger.rollback("m")


def test_one_lease_at_a_time_and_a_dead_holder_frees_it(ledger):
    register(ledger, 1)
    lease = ledger.acquire("m", "a", NOW, 30)
    assert ledger.acquire("m", "b", NOW, 30) is None
    assert ledger.in_flight("m")
    ledger.release(lease)
    assert not ledger.in_flight("m")
    dead = ledger.acquire("m", "b", NOW, -1)
    heir = ledger.acquire("m", "c", NOW, 30)
    assert lease.fence < dead.fence < heir.fence
    assert not ledger.beat(dead)
    with pytest.raises(Conflict, match="taken over"):
        ledger.promote("m", 1, None, reason="from the dead", lease_fence=dead.fence)
    assert ledger.champion("m") is None
    assert ledger.promote("m", 1, None, reason="by the heir", lease_fence=heir.fence).version == 1


def test_versions_decisions_and_costs_come_back(ledger):
    version = Version("m", 1, "run", "b/m/1", "d" * 64, "linear", {"strength": 1.0}, {"mae": 2.0}, NOW)
    ledger.add_version(version)
    assert ledger.version("m", 1) == version
    with pytest.raises(Conflict):
        ledger.add_version(version)
    ledger.record_decision("m", "skip", "why", {"a": 1}, NOW)
    ledger.record_decision("m", "retrain", "so", {}, NOW)
    assert ledger.last_decisions("m", kind="skip") == [DecisionRow("skip", "why", {"a": 1}, NOW)]
    ledger.record_cost("m", "train", "r", 3.0, 2.0, NOW)
    ledger.record_cost("m", "train", "s", 1.0, 2.0, NOW)
    assert ledger.spent("m", NOW - timedelta(days=1), NOW)["train"] == {"cpu_seconds": 4.0, "seconds": 4.0, "runs": 2}


def test_prune_and_forget(ledger):
    ledger.add_predictions(predictions(4))
    ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])
    register(ledger, 1)
    ledger.promote("m", 1, None, reason="first")
    lease = ledger.acquire("m", "still training", NOW, 60)
    before = datetime.now(UTC)
    ledger.add_predictions([Prediction("late", "m", 1, NOW, "{}", "{}")])
    assert ledger.prune(before) == 4
    assert [row.id for row in ledger.window("m", 9)] == ["late"]
    ledger.forget("m")
    assert ledger.window("m", 9) == []
    assert ledger.champion("m") is None
    assert not ledger.beat(lease)
    assert ledger.acquire("m", "anew", NOW, 60).fence > lease.fence


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
import sys
from treadle.errors import Conflict
from treadle.ledger import Ledger, Version
ledger, me, rounds = Ledger.open(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def worth(version):
    return version * 7919 % 1000
for round in range(rounds):
    model, version = f"m{round}", round * 8 + me + 1
    ledger.add_version(Version(model, version, "run", "b", "d", "linear", {}, {}, None))
    while True:
        champion = ledger.champion(model)
        if champion is not None and worth(champion.version) >= worth(version):
            break
        try:
            ledger.promote(model, version, champion.version if champion else None, reason="better")
            break
        except Conflict:
            continue
"""


def worth(version):
    return version * 7919 % 1000


def race(url, rounds):
    """Eight processes open an empty ledger at once, and each promotes only what beats the champion that it saw."""
    racers = [subprocess.Popen([sys.executable, "-c", RACER, url, str(me), str(rounds)]) for me in range(8)]
    assert [racer.wait(timeout=100) for racer in racers] == [0] * 8
    ledger = Ledger.open(url)
    for number in range(rounds):
        model, contenders = f"m{number}", [number * 8 + me + 1 for me in range(8)]
        with ledger.engine.connect() as connection:
            query = text("SELECT fence, version FROM promotions WHERE model = :model ORDER BY seq")
            history = connection.execute(query, {"model": model}).all()
        reigns = [worth(version) for _, version in history]
        assert reigns == sorted(set(reigns)), "a champion was replaced by a worse one"
        assert [fence for fence, _ in history] == list(range(1, len(history) + 1))
        assert ledger.champion(model).version == history[-1].version == max(contenders, key=worth)


def test_eight_processes_never_leave_a_worse_champion(url):
    race(url, 5)


@pytest.mark.slow
def test_eight_processes_never_leave_a_worse_champion_in_50_rounds(url):
    race(url, 50)


HOLDER = """
import sys
from datetime import UTC, datetime
from treadle.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
print(ledger.acquire("m", "train", datetime.now(UTC), 1.0).fence, flush=True)
sys.stdin.read()
"""


def test_a_killed_train_frees_its_lease(ledger, url):
    """No negative time here: the lease is a second long, its holder is killed, and only the clock frees it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    fence = int(process.stdout.readline())
    assert ledger.acquire("m", "heir", NOW, 1.0) is None
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while (heir := ledger.acquire("m", "heir", NOW, 60.0)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert heir.fence == fence + 1


def test_a_locked_ledger_is_an_outage_and_not_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("treadle.ledger.database.BUSY_MS", 50)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    register(ledger, 1)
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            ledger.add_predictions(predictions(1))
        with pytest.raises(Unavailable, match="locked"):
            ledger.promote("m", 1, None, reason="first")
        assert [version.version for version in ledger.versions("m")] == [1]  # readers go on
        other.rollback()
    ledger.add_predictions(predictions(1))
    assert ledger.promote("m", 1, None, reason="first").fence == 1


def test_a_database_of_something_else_is_told_in_one_line(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(Unavailable, match="TREADLE_LEDGER_URL"):
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_serving_opens_the_ledger_without_anything_heavy(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger.open(url)
    heavy = ("alembic", "mlflow", "numpy", "pandas", "prefect", "sklearn")
    code = f"import sys; from treadle.ledger import Ledger; Ledger.open({url!r}); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
