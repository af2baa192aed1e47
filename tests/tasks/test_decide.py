"""What the decision weighs: read from the ledger, also when clocks disagree."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.decide import _circumstances
from treadle.ledger import Ledger
from treadle.policy import decide
from treadle.project import Project

PROJECT = Project.model_validate(
    {
        "name": "toy",
        "problem": "tabular-regression",
        "data": {"source": "toy.csv", "target": "amount"},
        "retrain": {"cooldown": "6h"},
    }
)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def weigh(tmp_path, retrained_at: datetime):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.record_decision("toy", "retrain", "drift", {}, retrained_at)
    now = replace(_circumstances(ledger, "toy", NOW), new_labels=1000)
    return decide("drift", "inputs moved.", PROJECT, now)


def test_a_clock_that_was_set_back_does_not_end_the_cooldown(tmp_path):
    decision = weigh(tmp_path, NOW + timedelta(hours=2))
    assert not decision.retrain
    assert "cooldown" in decision.reason


def test_a_retrain_of_another_year_does_not_stop_a_replay(tmp_path):
    assert weigh(tmp_path, NOW + timedelta(days=4000)).retrain
