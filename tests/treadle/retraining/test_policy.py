"""Each rule of the policy objects in its own words, and only when it should."""

from datetime import UTC, datetime, timedelta

import pytest

from treadle.project import Project
from treadle.retraining.policy import NIGHTLY, RULES, WINDOW, Circumstances, Streak, asks_as, decide
from treadle.retraining.steps import STEP, begun
from treadle.settings import CHECKOUT

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PROJECT = Project.model_validate(
    {
        "name": "p",
        "problem": "tabular-regression",
        "data": {"source": "x.csv", "target": "y"},
        "retrain": {"cooldown": "6h", "max_per_day": 2, "min_new_labels": 50},
        "budget": {"cpu_minutes_per_day": 60},
    }
)


def circumstances(**changes):
    return Circumstances(
        **({"at": NOW, "retrains": [], "new_labels": 100, "cpu_minutes": 0, "in_flight": False} | changes)
    )


def test_a_quality_loss_with_nothing_against_it_retrains():
    decision = decide("quality-loss", "It is worse.", PROJECT, circumstances())
    assert decision.retrain
    assert "100 new labelled rows" in decision.reason


@pytest.mark.parametrize("verdict", ["ok", "insufficient-data", "invalid"])
def test_other_verdicts_do_not(verdict):
    assert not decide(verdict, "", PROJECT, circumstances()).retrain


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"in_flight": True}, "in flight"),
        ({"retrains": [NOW - timedelta(hours=5)]}, "cooldown is 6h"),
        ({"retrains": [NOW - timedelta(hours=7), NOW - timedelta(hours=14)]}, "at most 2"),
        ({"new_labels": 49}, "only 49"),
        ({"cpu_minutes": 60}, "60 of 60 CPU minutes"),
        ({"retrains": [NOW + timedelta(hours=1)]}, "cooldown"),
        ({"asked": NOW - timedelta(hours=1)}, "asked for at 2024-05-01 11:00 has not begun yet"),
        ({"harm": 0.01}, "raise the loss by 1.0% only; below 2.0%"),
        ({"harm": -0.043}, "are likely to cost nothing (the loss -4.3%); below 2.0%"),
        ({"streak": Streak(3, NOW - timedelta(days=2), 0)}, "3 challengers in a row"),
        ({"streak": Streak(3, NOW + timedelta(hours=2), 0)}, "the breaker is open"),
        ({"streak": Streak(1, NOW, 99)}, "99 labels have come since, 100 are needed"),
        ({"streak": Streak(2, NOW, 199)}, "the last 2 challengers were turned down"),
        ({"streak": Streak(9, NOW, 799)}, "800 are needed"),
    ],
)
def test_each_rule_objects(changes, why):
    decision = decide("drift", "", PROJECT, circumstances(**changes))
    assert not decision.retrain
    assert why in decision.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"harm": 0.02},
        {"streak": Streak(1, NOW, 100)},
        {"streak": Streak(2, NOW, 200)},
        {"streak": Streak(3, NOW - timedelta(days=3), 400)},
        {"streak": Streak(9, NOW, 800)},
        {"streak": Streak(9, NOW + timedelta(days=30), 0)},
    ],
)
def test_rules_that_are_not_met_let_it_through(changes):
    assert decide("drift", "", PROJECT, circumstances(**changes)).retrain


def test_a_night_tries_again_since_its_rows_may_come_with_the_table():
    assert decide(NIGHTLY, "", PROJECT, circumstances(streak=Streak(1, NOW, 0))).retrain


def test_harm_speaks_of_inputs_and_not_of_quality():
    assert decide("quality-loss", "", PROJECT, circumstances(harm=0.0)).retrain


def test_a_decision_names_its_rule_and_a_night_has_its_own():
    loud = circumstances(in_flight=True, new_labels=0)
    assert decide("drift", "", PROJECT, loud).rule == "in-flight"
    assert decide("drift", "", PROJECT, circumstances()).rule is None
    assert decide(NIGHTLY, "", PROJECT, circumstances(new_labels=0, retrains=[NOW])).retrain
    assert decide(NIGHTLY, "", PROJECT, circumstances(cpu_minutes=60)).rule == "budget"
    text = (CHECKOUT / "docs" / "retraining.md").read_text(encoding="utf-8")
    assert all(f"| `{rule}` |" in text for rule in RULES)


def test_a_wrong_date_far_ahead_does_not_stop_all_retraining():
    assert decide("drift", "", PROJECT, circumstances(retrains=[NOW + timedelta(days=300)])).retrain


def test_a_storm_of_triggers_retrains_once_and_tells_each_why():
    retrains, reasons = [], []
    for number in range(1000):
        at = NOW + timedelta(milliseconds=60 * number)
        decision = decide("drift", "", PROJECT, circumstances(at=at, retrains=list(retrains)))
        reasons.append(decision.reason)
        if decision.retrain:
            retrains.append(at)
    assert len(retrains) == 1
    assert all("cooldown" in reason for reason in reasons[1:])


def test_rules_let_go_when_their_time_is_over():
    past = [NOW - timedelta(hours=6), NOW - timedelta(hours=25)]
    assert decide("drift", "", PROJECT, circumstances(retrains=past)).retrain


def living_by(policy, **rules):
    return PROJECT.model_copy(update={"retrain": PROJECT.retrain.model_copy(update={"policy": policy} | rules)})


@pytest.mark.parametrize("verdict", ["drift", "quality-loss", NIGHTLY])
def test_a_static_project_reports_and_retrains_nothing_by_itself(verdict):
    decision = decide(verdict, "", living_by("static"), circumstances())
    assert (decision.retrain, decision.rule) == (False, "static")
    assert "treadle train p" in decision.reason


@pytest.mark.parametrize("verdict", ["ok", "insufficient-data", "invalid", "drift", "quality-loss"])
def test_at_every_window_a_retrain_starts_whatever_the_verdict(verdict):
    decision = decide(verdict, "", living_by("every-window"), circumstances(retrains=[NOW - timedelta(days=1)]))
    assert decision.retrain
    assert decision.reason == (
        f"window-over: the window of 1d is over; the verdict is {verdict}. 100 new labelled rows to learn from."
    )


@pytest.mark.parametrize("verdict", ["ok", "drift", NIGHTLY])
def test_at_every_window_none_starts_before_it_is_over(verdict):
    now = circumstances(retrains=[NOW - timedelta(hours=23)])
    decision = decide(verdict, "", living_by("every-window"), now)
    assert not decision.retrain
    assert "the policy is one retrain every 1d, and the last was at 2024-04-30 13:00." in decision.reason
    assert asks_as("drift", living_by("every-window"), now) is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"in_flight": True}, "in-flight"),
        ({"new_labels": 0}, "no-new-labels"),
        ({"new_labels": 1}, None),
        ({"cpu_minutes": 60}, "budget"),
        ({"asked": NOW}, "asked-already"),
        ({"streak": Streak(9, NOW, 0)}, None),
        ({"harm": 0.0}, None),
        ({"retrains": [NOW - timedelta(hours=h) for h in (2, 3, 4, 5)]}, None),
    ],
)
def test_a_window_is_weighed_by_what_it_costs_alone(changes, rule):
    project = living_by("every-window", every=timedelta(hours=2))
    assert asks_as("drift", project, circumstances(**changes)) == WINDOW
    assert decide("drift", "", project, circumstances(**changes)).rule == rule


@pytest.mark.parametrize(
    ("labels", "said"), [(0, "only 0 labelled rows are newer"), (1, "only 1 labelled row is newer")]
)
def test_without_new_labels_it_is_said_where_they_are_sent(labels, said):
    decision = decide("drift", "", PROJECT, circumstances(new_labels=labels))
    assert decision.rule == "no-new-labels"
    assert said in decision.reason
    assert f"/v1/models/{PROJECT.name}/feedback" in decision.reason


def following(**changes):
    """A project that follows a stream by a tenth, of which version 3 knows a thousand rows."""
    rules = PROJECT.retrain.model_copy(update={"follow": 0.1})
    return PROJECT.model_copy(update={"retrain": rules}), circumstances(**({"followed": begun(3, 1000)} | changes))


@pytest.mark.parametrize("verdict", ["ok", "drift", "quality-loss", "insufficient-data"])
def test_a_stream_that_moves_is_learned_from_as_it_grows_whatever_the_verdict(verdict):
    project, now = following(new_labels=100, retrains=[NOW - timedelta(hours=1)])
    decision = decide(verdict, "", project, now)
    assert (decision.retrain, decision.asking) == (True, STEP)
    assert decision.reason == (
        f"stream-moves: the stream is known to move, and version 3 knows 1,000 rows; the verdict is {verdict}. "
        "100 new labelled rows to learn from."
    )
    waiting = decide(verdict, "", project, following(new_labels=99)[1])
    assert (waiting.retrain, waiting.asking) == (False, None)
    assert "the next step comes with 100 new labelled rows (99 so far)" in waiting.reason


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"in_flight": True}, "in-flight"),
        ({"streak": Streak(3, NOW - timedelta(days=2), 0)}, "breaker"),
        ({"retrains": [NOW - timedelta(hours=7), NOW - timedelta(hours=14)]}, "daily-maximum"),
        ({"asked": NOW - timedelta(hours=1)}, "asked-already"),
        ({"cpu_minutes": 60}, "budget"),
    ],
)
def test_a_step_is_held_back_by_what_protects_the_machine(changes, rule):
    project, now = following(**changes)
    assert decide("ok", "", project, now).rule == rule


def test_while_steps_leave_a_key_out_a_verdict_asks_for_a_retrain_that_does_not():
    project, now = following(new_labels=60, in_doubt=True)
    assert asks_as("quality-loss", project, now) == "quality-loss"
    assert asks_as("ok", project, now) is None
    assert asks_as("quality-loss", project, following(new_labels=100, in_doubt=True)[1]) == STEP


def test_no_night_trains_while_a_stream_is_followed():
    """It would search and hold a duel for rows that a step learns for one fit."""
    assert decide(NIGHTLY, "", *following()).rule == "followed"
    assert decide(NIGHTLY, "", PROJECT, circumstances()).retrain
    assert decide("quality-loss", "", *following(new_labels=60, in_doubt=True)).retrain


def test_a_project_that_does_not_say_follow_waits_for_a_verdict():
    assert asks_as("ok", PROJECT, circumstances()) is None
    assert asks_as("drift", PROJECT, circumstances()) == "drift"
