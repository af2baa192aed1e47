"""The governor on SQLite and PostgreSQL: one wish becomes a retrain, every other is written down with its reason."""

import multiprocessing
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.answered import answered
from treadle.ledger import Feedback, Ledger, Version
from treadle.ledger.audit import last as audit
from treadle.project import Project
from treadle.retraining.breaker import close_breaker
from treadle.retraining.governor import Governor
from treadle.retraining.policy import NIGHTLY, harm_of

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def project(**retrain):
    rules = {"cooldown": "6h", "max_per_day": 2, "min_new_labels": 10} | retrain
    data = {"source": "x.csv", "target": "y"}
    return Project.model_validate({"name": "m", "problem": "tabular-regression", "data": data, "retrain": rules})


def labels(ledger, n=20, at=NOW - timedelta(hours=1), start=0):
    rows = [answered(f"p{i}", "m", 1, at, "{}", '{"prediction": 1}') for i in range(start, start + n)]
    ledger.add_entries(rows)
    ledger.add_feedback("m", [Feedback(row.id, 1.0, at) for row in rows])


def champion(ledger, version):
    ledger.add_version(Version("m", version, "run", "b", "d" * 64, "linear", {}, {}, None))
    before = ledger.champion("m")
    ledger.promote("m", version, before.version if before else None, reason="better")


@pytest.fixture
def governor(ledger):
    labels(ledger)
    champion(ledger, 1)
    return Governor(ledger, project())


def states(governor):
    return [trigger.state for trigger in governor.last(99)][::-1]


def test_of_many_wishes_one_is_granted_and_all_others_wait_with_their_reason(governor, ledger):
    outcomes = [governor.weigh("drift", "inputs moved.", NOW + timedelta(seconds=i)) for i in range(5)]
    assert [o.decision.retrain for o in outcomes] == [True, False, False, False, False]
    assert states(governor) == ["granted", "held", "held", "held", "held"]
    assert all("cooldown is 6h" in t.reason for t in governor.last(4))
    assert governor.standing(NOW).suppressed == {"cooldown": 4}
    assert [d.kind for d in ledger.last_decisions("m", 9)] == ["skip"] * 4 + ["retrain"]


def test_all_that_wait_become_one_follow_up(governor):
    for i in range(4):
        governor.weigh("drift", "inputs moved.", NOW + timedelta(minutes=i))
    governor.begin(1, "run")
    governor.end(1, "run")
    follow_up = governor.weigh("drift", "inputs moved.", NOW + timedelta(hours=6))
    assert follow_up.decision.retrain
    assert "3 earlier triggers are answered by it too" in follow_up.decision.reason
    assert states(governor) == ["ended", "merged", "merged", "merged", "granted"]
    assert {t.answer for t in governor.last(9) if t.state == "merged"} == {follow_up.trigger}


def test_a_look_that_cannot_tell_lets_the_follow_up_through(governor):
    governor.weigh("quality-loss", "worse.", NOW)
    governor.weigh("quality-loss", "worse.", NOW + timedelta(hours=1))
    governor.begin(1, "run")
    governor.end(1, "run")
    early = governor.weigh("insufficient-data", "few rows.", NOW + timedelta(hours=2))
    assert not early.decision.retrain
    assert "1 earlier trigger is still held back" in early.decision.reason
    late = governor.weigh("insufficient-data", "few rows.", NOW + timedelta(hours=6))
    assert late.decision.retrain
    assert len(late.ask) == 1
    assert not governor.weigh("insufficient-data", "few rows.", NOW + timedelta(hours=13)).decision.retrain


def test_a_model_that_holds_again_withdraws_what_waits(governor):
    governor.weigh("drift", "moved.", NOW)
    governor.weigh("drift", "moved.", NOW + timedelta(hours=1))
    said = governor.weigh("ok", "It holds.", NOW + timedelta(hours=7)).decision.reason
    assert "1 earlier trigger is withdrawn: the model holds again" in said
    assert states(governor) == ["granted", "withdrawn"]
    assert "The model holds again." in governor.last(1)[0].reason


def test_a_new_champion_settles_what_spoke_of_the_one_before(governor, ledger):
    governor.weigh("drift", "moved.", NOW)
    governor.weigh("drift", "moved.", NOW + timedelta(hours=1))
    champion(ledger, 2)
    governor.weigh("insufficient-data", "few rows.", NOW + timedelta(hours=7))
    assert states(governor) == ["granted", "withdrawn"]
    assert "Version 2 is champion by now." in governor.last(1)[0].reason


def test_one_run_alone_begins_for_a_trigger_and_may_go_on_after_an_outage(governor):
    seq = governor.weigh("drift", "moved.", NOW).trigger
    assert governor.begin(seq, "a") is None
    assert "run a was for it" in governor.begin(seq, "b")
    assert governor.begin(seq, "a") is None
    governor.end(seq, "b")
    assert states(governor) == ["running"]
    governor.end(seq, "a")
    assert states(governor) == ["ended"]
    assert "not known any more" in governor.begin(77, "c")


def test_a_grant_whose_asker_died_is_asked_for_again(governor):
    with time_machine.travel(NOW) as clock:
        seq = governor.weigh("drift", "moved.", NOW).trigger
        clock.shift(30)
        assert governor.weigh("ok", "", NOW).ask == ()
        clock.shift(60)
        assert [t.seq for t in governor.weigh("ok", "", NOW).ask] == [seq]
        governor.asked(seq)
        assert governor.weigh("ok", "", NOW).ask == ()
        clock.shift(601)
        assert [t.seq for t in governor.weigh("ok", "", NOW).ask] == [seq]
        clock.shift(90_000)
        assert governor.weigh("ok", "", NOW).ask == ()
        assert states(governor) == ["lost"]
        assert "is lost" in governor.begin(seq, "late")


def test_without_a_cooldown_a_grant_that_has_not_begun_holds_the_next(ledger):
    labels(ledger)
    governor = Governor(ledger, project(cooldown="0s", max_per_day=9))
    assert governor.weigh("drift", "moved.", NOW).decision.retrain
    assert governor.weigh("drift", "moved.", NOW + timedelta(hours=1)).decision.rule == "asked-already"
    governor.begin(1, "run")
    assert governor.weigh("drift", "moved.", NOW + timedelta(hours=2)).decision.rule == "in-flight"
    governor.end(1, "run")
    assert governor.weigh("drift", "moved.", NOW + timedelta(hours=3)).decision.retrain


def test_the_same_run_asks_again_after_an_outage_and_hears_the_same(governor):
    first = governor.weigh("drift", "moved.", NOW, origin="run")
    again = governor.weigh("drift", "moved.", NOW, origin="run")
    assert (again.decision, again.trigger, again.ask) == (first.decision, first.trigger, first.ask)
    assert len(governor.last(9)) == 1


def test_harm_that_is_known_and_small_is_reported_and_does_not_wait(governor):
    look = {"impact": {"harm": 0.004}, "findings": [{"kind": "input", "drifted": True}]}
    outcome = governor.weigh("drift", "moved.", NOW, harm_of(look))
    assert outcome.decision.rule == "harmless"
    assert "0.4%" in outcome.decision.reason
    assert states(governor) == ["refused"]
    assert governor.weigh("quality-loss", "worse.", NOW, harm_of(look)).decision.retrain


def test_the_breaker_opens_closes_with_time_with_labels_and_by_hand(governor, ledger):
    for hour in range(3):
        ledger.record_decision("m", "kept", "not better", {}, NOW + timedelta(hours=hour))
    later = NOW + timedelta(hours=12)
    decision = governor.weigh("drift", "moved.", later).decision
    assert decision.rule == "breaker"
    assert "3 challengers in a row were turned down" in decision.reason
    assert "treadle governor close m" in governor.standing(later).breaker
    assert governor.standing(later + timedelta(days=3)).breaker is None
    assert close_breaker(ledger, project(), "ann", later) == 3
    assert [(row.who, row.what, row.before) for row in audit(ledger.engine, 1)] == [("ann", "close breaker", 3)]
    assert governor.weigh("drift", "moved.", later).decision.retrain


def test_new_labels_close_the_breaker(ledger):
    labels(ledger)
    for hour in range(3):
        ledger.record_decision("m", "rejected", "not better", {}, NOW + timedelta(hours=hour))
    governor = Governor(ledger, project(breaker_labels=30))
    assert governor.weigh("drift", "moved.", NOW + timedelta(hours=12)).decision.rule == "breaker"
    labels(ledger, 30, NOW + timedelta(hours=3), start=100)
    waiting = governor.weigh("drift", "moved.", NOW + timedelta(hours=12)).decision
    assert waiting.rule == "turned-down"
    assert "30 labels have come since, 80 are needed" in waiting.reason
    labels(ledger, 50, NOW + timedelta(hours=4), start=200)
    assert governor.weigh("drift", "moved.", NOW + timedelta(hours=12)).decision.retrain


def test_champions_that_are_rolled_back_count_as_turned_down(governor, ledger):
    for hour, kind in enumerate(["promoted", "promoted", "rolled-back", "promoted", "rolled-back", "kept"]):
        ledger.record_decision("m", kind, "so", {}, NOW + timedelta(hours=hour))
    assert governor.standing(NOW + timedelta(hours=6)).turned_down == 3


def test_a_night_is_weighed_too_but_waits_for_nothing(governor):
    assert governor.weigh(NIGHTLY, "the clock asks for it.", NOW).decision.retrain
    assert governor.weigh(NIGHTLY, "the clock asks for it.", NOW + timedelta(hours=1)).decision.retrain
    third = governor.weigh(NIGHTLY, "the clock asks for it.", NOW + timedelta(hours=2)).decision
    assert third.rule == "daily-maximum"
    assert states(governor) == ["ended", "ended", "refused"]


def test_clocks_that_step_neither_end_a_cooldown_nor_stop_all_retraining(governor):
    assert governor.weigh("drift", "moved.", NOW).decision.retrain
    governor.begin(1, "run")
    governor.end(1, "run")
    back = governor.weigh("drift", "moved.", NOW - timedelta(hours=5)).decision
    assert back.rule == "cooldown"
    assert governor.weigh("drift", "moved.", NOW + timedelta(days=40)).decision.retrain


_ASK = st.tuples(
    st.sampled_from(["drift", "quality-loss", "ok", "insufficient-data", NIGHTLY]),
    st.integers(-20 * 60, 72 * 60),
    st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(asks=st.lists(_ASK, min_size=1, max_size=30), cooldown=st.sampled_from(["0s", "1h", "30h"]))
def test_never_more_than_the_maximum_whatever_the_order_of_events(tmp_path_factory, asks, cooldown):
    """In any 24 hours of event time, with any verdicts, at any times, forward and back."""
    ledger = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('g') / 'ledger.db'}")
    labels(ledger, at=NOW - timedelta(days=9))
    governor = Governor(ledger, project(cooldown=cooldown, max_per_day=2))
    granted, wished = [], 0
    for verdict, minutes, runs in asks:
        at = NOW + timedelta(minutes=minutes)
        outcome = governor.weigh(verdict, "so.", at)
        granted += [at] if outcome.decision.retrain else []
        wished += outcome.trigger is not None
        for trigger in outcome.ask if runs else ():
            assert governor.begin(trigger.seq, f"r{trigger.seq}") is None
            governor.end(trigger.seq, f"r{trigger.seq}")
    for begin in granted:
        assert sum(begin <= moment < begin + timedelta(days=1) for moment in granted) <= 2
    triggers = governor.last(999)
    assert len(triggers) == wished
    assert all(t.reason and (t.rule or t.state in ("granted", "running", "ended", "lost")) for t in triggers)
    ledger.engine.dispose()


def _ask_for_ever(url, seed, n, out):
    governor = Governor(Ledger.open(url), project())
    chance = random.Random(seed)
    for _ in range(n):
        outcome = governor.weigh("drift", "moved.", NOW + timedelta(seconds=chance.uniform(0, 60)))
        out.put((os.getpid(), outcome.trigger, outcome.decision.retrain))


def test_schedulers_in_different_processes_cannot_both_say_yes(url):
    ledger = Ledger.open(url)
    labels(ledger)
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    crowd = [context.Process(target=_ask_for_ever, args=(url, seed, 25, out)) for seed in range(3)]
    for process in crowd:
        process.start()
    answers = [out.get(timeout=60) for _ in range(75)]
    for process in crowd:
        process.join(timeout=30)
    assert sum(yes for _, _, yes in answers) == 1
    assert sorted(seq for _, seq, _ in answers) == list(range(1, 76))
    assert Governor(ledger, project()).standing(NOW).suppressed == {"cooldown": 74}
