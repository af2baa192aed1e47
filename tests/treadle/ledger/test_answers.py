"""Rows that were answered and their labels, on SQLite and on PostgreSQL through the same tests."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from tests.answered import answered
from tests.treadle.ledger.conftest import NOW, predictions
from treadle.errors import Conflict, NotFound
from treadle.ledger import Feedback, Ledger


def test_window_is_the_newest_by_event_time_oldest_first(ledger):
    ledger.add_entries(predictions(10)[::-1])
    rows = ledger.window("m", 3, until=NOW + timedelta(hours=7))
    assert [row.id for row in rows] == ["p5", "p6", "p7"]
    assert rows[0].features == {"x": 5}
    assert rows[0].at == NOW + timedelta(hours=5)


def test_window_of_one_version(ledger):
    ledger.add_entries(predictions(3))
    ledger.add_entries([answered("v2", "m", 2, NOW, "{}", "{}")])
    assert [row.id for row in ledger.window("m", 10, version=2)] == ["v2"]


def test_labels_after_a_swap_come_oldest_first_and_no_more_than_wanted(ledger):
    ledger.add_entries(predictions(10))
    ledger.add_feedback("m", [Feedback(f"p{i}", float(i), NOW + timedelta(hours=i + 2)) for i in range(10)])
    rows = ledger.labelled_after("m", 1, NOW + timedelta(hours=3), NOW + timedelta(hours=9), 3)
    assert [row.id for row in rows] == ["p4", "p5", "p6"]
    known = ledger.labelled_after("m", 1, NOW + timedelta(hours=3), NOW + timedelta(hours=7), 100)
    assert [row.id for row in known] == ["p4", "p5"]
    assert ledger.labelled_after("m", 2, NOW, NOW + timedelta(hours=9), 3) == []


def test_labelled_rows_of_one_version_or_of_any_after_a_moment(ledger):
    ledger.add_entries(predictions(6))
    ledger.add_entries([answered(f"v{i}", "m", 2, NOW + timedelta(hours=i), "{}", "{}") for i in (1, 8)])
    ids = [*(f"p{i}" for i in range(6)), "v1", "v8"]
    ledger.add_feedback("m", [Feedback(name, 1.0, NOW + timedelta(hours=9)) for name in ids])
    after = NOW + timedelta(hours=3)
    assert [row.id for row in ledger.labelled("m", version=2)] == ["v1", "v8"]
    assert [row.id for row in ledger.labelled("m", version=2, or_after=after)] == ["v1", "p4", "p5", "v8"]
    assert [row.id for row in ledger.labelled("m", version=2, or_after=after, newest=2)] == ["p5", "v8"]
    assert ledger.labelled("m", until=NOW, version=2, or_after=after) == []


def test_a_label_is_not_known_before_its_time(ledger):
    ledger.add_entries(predictions(2))
    ledger.add_feedback("m", [Feedback("p0", 5.0, NOW + timedelta(days=7))])
    assert [r.label for r in ledger.window("m", 9, until=NOW + timedelta(days=6))] == [None, None]
    assert [r.label for r in ledger.window("m", 9, until=NOW + timedelta(days=7))] == [5.0, None]
    assert ledger.labelled("m", until=NOW + timedelta(days=6)) == []
    assert ledger.count_labelled_since("m", None, until=NOW + timedelta(days=8)) == 1
    assert ledger.count_labelled_since("m", NOW, until=NOW + timedelta(days=8)) == 0


def test_feedback_is_idempotent(ledger):
    ledger.add_entries(predictions(3))
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
    ledger.add_entries(predictions(3))
    ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])
    with pytest.raises(error, match=r"^Label 1 ") as told:
        ledger.add_feedback("m", [Feedback("p2", 1.0, NOW), bad])
    assert bad.id not in str(told.value)
    assert [row.id for row in ledger.labelled("m")] == ["p0"]


def test_labels_of_another_model_are_unknown(ledger):
    ledger.add_entries(predictions(1, model="other"))
    with pytest.raises(NotFound):
        ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])


def test_an_id_is_answered_once_and_a_clash_stores_nothing(ledger):
    ledger.add_entries(predictions(1))
    with pytest.raises(Conflict):
        ledger.add_entries([answered("new", "m", 1, NOW, "{}", "{}"), *predictions(1)])
    assert [row.id for row in ledger.window("m", 9)] == ["p0"]


WRITER = """
import sys
from datetime import UTC, datetime
from tests.answered import answered
from treadle.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
for i in range(100_000):
    ledger.add_entries([answered(f"{i}-{k}", "m", 1, datetime.now(UTC), "{}", "{}") for k in range(4)])
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
