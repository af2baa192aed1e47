"""What the decision weighs: read from the ledger, also when clocks disagree; and what the Prefect UI shows of it."""

from datetime import UTC, datetime, timedelta

from tasks.decide import _page
from tests.answered import answered
from treadle.ledger import Feedback, Ledger
from treadle.project import Project
from treadle.retraining.governor import Governor

PROJECT = Project.model_validate(
    {
        "name": "toy",
        "problem": "tabular-regression",
        "data": {"source": "toy.csv", "target": "amount"},
        "retrain": {"cooldown": "6h", "min_new_labels": 1},
    }
)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def governed(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.add_entries([answered("p", "toy", 1, NOW, "{}", "{}")])
    ledger.add_feedback("toy", [Feedback("p", 1.0, NOW)])
    return Governor(ledger, PROJECT), ledger


def weigh(tmp_path, retrained_at: datetime):
    governor, ledger = governed(tmp_path)
    ledger.record_decision("toy", "retrain", "drift", {}, retrained_at)
    return governor.weigh("drift", "inputs moved.", NOW).decision


def test_a_clock_that_was_set_back_does_not_end_the_cooldown(tmp_path):
    decision = weigh(tmp_path, NOW + timedelta(hours=2))
    assert not decision.retrain
    assert "cooldown" in decision.reason


def test_a_retrain_of_another_year_does_not_stop_a_replay(tmp_path):
    assert weigh(tmp_path, NOW + timedelta(days=4000)).retrain


def test_the_page_says_why_and_counts_what_was_suppressed(tmp_path):
    governor, _ = governed(tmp_path)
    for minute in range(3):
        outcome = governor.weigh("drift", "inputs moved.", NOW + timedelta(minutes=minute))
    page = _page(outcome, governor.standing(NOW))
    assert "**No retrain by the rule `cooldown`.** drift, but the last retrain was 2m ago" in page
    assert "| cooldown | 2 |" in page
    assert "2 of them wait" in page


def living_by(tmp_path, policy):
    _, ledger = governed(tmp_path)
    rules = PROJECT.retrain.model_copy(update={"policy": policy, "every": timedelta(hours=12)})
    return Governor(ledger, PROJECT.model_copy(update={"retrain": rules}))


def test_at_every_window_one_retrain_a_window_is_granted_by_looks_that_are_ok(tmp_path):
    governor = living_by(tmp_path, "every-window")
    looks = [governor.weigh("ok", "It holds.", NOW + timedelta(hours=hour)) for hour in range(12)]
    assert [look.decision.retrain for look in looks] == [True] + [False] * 11
    (granted,) = governor.last()
    assert (granted.verdict, granted.state) == ("window-over", "granted")
    assert len({look.decision.reason for look in looks[1:]}) == 1  # one line in the console
    assert governor.begin(granted.seq, "run") is None
    governor.end(granted.seq, "run")
    assert governor.weigh("drift", "inputs moved.", NOW + timedelta(hours=12)).decision.retrain


def test_a_static_project_writes_down_what_it_does_not_do(tmp_path):
    governor = living_by(tmp_path, "static")
    outcome = governor.weigh("quality-loss", "It is worse.", NOW)
    (refused,) = governor.last()
    assert (outcome.decision.retrain, outcome.decision.rule, refused.state) == (False, "static", "refused")
    assert governor.standing(NOW).waiting == 0
    assert "**No retrain by the rule `static`.**" in _page(outcome, governor.standing(NOW))
