"""A flow that the clock or a trigger begins does its work once, and says in plain words why it did not."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tasks import slot
from tests.answered import answered
from treadle.ledger import Feedback, Ledger
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path))
    folder = tmp_path / "projects" / "toy"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "name: toy\nproblem: tabular-regression\ndata: {source: a.csv, target: y}\nretrain: {min_new_labels: 1}\n"
    )
    ledger = Ledger.open(Settings())
    ledger.add_entries([answered("p", "toy", 1, NOW, "{}", "{}")])
    ledger.add_feedback("toy", [Feedback("p", 1.0, NOW)])
    return ledger


@pytest.fixture
def run(monkeypatch):
    """`run(flow, id)` runs a flow as a scheduled run of that id would; by hand with `scheduled=False`."""

    def begin(flow, run_id, *, scheduled=True, at=NOW, **parameters):
        tags = ["auto-scheduled"] if scheduled else []
        monkeypatch.setattr(slot, "flow_run", SimpleNamespace(id=run_id, tags=tags, scheduled_start_time=at))
        return flow("toy", **parameters)

    return begin


@slot.taken_once
def watch(project: str) -> dict:
    return {"project": project}


@slot.taken_once
def train(project: str, trigger: str | None = None) -> dict:
    if trigger == "2":
        raise RuntimeError("it broke")
    return {"project": project, "trained": True}


def test_of_two_scheduled_runs_one_works_and_one_says_why(ledger, run):
    assert run(watch, "a") == {"project": "toy"}
    skipped = run(watch, "b")
    assert (skipped.type, skipped.name) == ("COMPLETED", "Skipped")
    assert "is not needed: run a began" in skipped.message
    assert run(watch, "c", scheduled=False) == {"project": "toy"}
    assert run(watch, "d", at=datetime.now(UTC) + timedelta(hours=1)) == {"project": "toy"}


def test_a_night_does_not_train_while_the_breaker_is_open(ledger, run):
    assert run(train, "a")["trained"]
    for _ in range(3):
        ledger.record_decision("toy", "kept", "not better", {}, datetime.now(UTC))
    skipped = run(train, "b", at=datetime.now(UTC) + timedelta(days=1))
    assert skipped.name == "Skipped"
    assert "nightly, but the breaker is open" in skipped.message
    assert [d.kind for d in ledger.last_decisions("toy", 9) if d.kind != "kept"] == ["skip", "retrain"]
    assert run(train, "c", scheduled=False)["trained"]


def test_a_night_does_not_train_beside_another_run(ledger, run):
    lease = ledger.acquire("toy", "somebody", NOW, 60)
    assert "in flight already" in run(train, "a").message
    ledger.release(lease)


def test_a_trigger_is_taken_up_once_and_ended_also_when_the_run_fails(ledger, run):
    governor = Governor(ledger, load_project("toy", Settings()))
    first = governor.weigh("drift", "inputs moved.", NOW)
    assert run(train, "a", scheduled=False, trigger=str(first.trigger))["trained"]
    assert "run a was for it" in run(train, "b", scheduled=False, trigger="1").message
    assert governor.weigh("drift", "inputs moved.", NOW + timedelta(hours=7)).decision.retrain
    with pytest.raises(RuntimeError, match="it broke"):
        run(train, "c", scheduled=False, trigger="2")
    assert [t.state for t in governor.last(9)] == ["ended", "ended"]


@pytest.mark.parametrize("trigger", ["77", "one"])
def test_a_trigger_that_nobody_knows_trains_nothing(ledger, run, trigger):
    skipped = run(train, "a", scheduled=False, trigger=trigger)
    assert skipped.name == "Skipped"
    assert trigger in skipped.message
