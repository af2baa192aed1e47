"""The duel: what is worse is not promoted, in two hundred worlds each way; and what may object says why."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.duel import CLASSES, DAYS, HELD_DAYS, REGRESSION, WAYS, regression, rows_of, run
from treadle.problems import load_problem
from treadle.project import Fairness, Promote
from treadle.promotion.duel import hold_duel, weak_slices
from treadle.promotion.release import Quality

NUMBERS = load_problem("tabular-regression")


def duel(newest, held=None, **options):
    rules = options.pop("rules", Promote())
    return hold_duel(newest, held, NUMBERS, "mae", REGRESSION, rules, samples=400, **options)


def bouts(worse, held_worse=None, seed=0):
    rng = np.random.default_rng(seed)
    newest = regression(rows_of(DAYS, rng), rng, worse)
    return newest, regression(rows_of(HELD_DAYS, rng), rng, worse if held_worse is None else held_worse)


def promoted(way, trials=200):
    return sum(run(WAYS[way], seed, Promote(), 200).promote for seed in range(trials))


@pytest.mark.parametrize("way", ["worse by 5 %", "worse by 25 %"])
def test_worse_is_never_promoted_in_200_trials(way):
    assert promoted(way) == 0


def test_better_is_promoted():
    assert promoted("better by 10 %", 40) >= 24


def test_a_poisoned_retrain_is_never_promoted_in_200_trials():
    """A fifth of the labels is turned round by one key; the challenger believes them, and the newest rows praise it."""
    way = "20 % of labels flipped by one key, any rows, log loss"
    duels = [run(WAYS[way], seed, Promote(), 100) for seed in range(200)]
    assert all(found.gate.promote for found in duels)
    assert not any(found.promote for found in duels)
    assert {"labels"} <= set(duels[0].objections)
    assert "the key k-bad" in duels[0].reason


@pytest.mark.parametrize(("metric", "trials"), [("accuracy", 200), ("AUC", 60)])
def test_lies_that_leave_the_order_of_the_answers_are_seen_by_the_log_loss(metric, trials):
    """By the metric it is as good as the champion, and by luck better in one trial of twenty."""
    duels = [run(WAYS[f"the same, {metric}"], seed, Promote(), 100) for seed in range(trials)]
    assert any(found.gate.promote for found in duels)
    assert not any(found.promote or found.unless_worse().promote for found in duels)
    told = [found.objections["labels"] for found in duels]  # a gain that is luck may hang on an honest key, too
    assert sum("the key k-bad" in why and "it believes what one caller says" in why for why in told) >= 0.95 * trials


@pytest.mark.parametrize("way", ["classes, three honest keys, better, accuracy", "the same, equal, accuracy"])
def test_nobody_lies_and_hardly_ever_a_caller_is_believed(way):
    duels = [run(WAYS[way], seed, Promote(), 100) for seed in range(100)]
    assert sum("believes" in found.objections.get("labels", "") for found in duels) <= 1


def test_rows_that_do_not_depend_on_each_other_tell_of_a_believed_caller_too():
    newest, held, _, _ = WAYS["the same, accuracy"](np.random.default_rng(3))
    found = hold_duel(
        replace(newest, blocks=None),
        held,
        load_problem("tabular-classification"),
        "accuracy",
        CLASSES,
        Promote(),
        samples=100,
    )
    assert "the key k-bad" in found.objections["labels"]


def test_a_gain_on_one_callers_rows_alone_is_refused():
    way = "20 % flipped by one key, all of one kind, log loss"
    assert promoted(way, 50) == 0


def test_one_caller_who_labels_most_rows_is_not_left_out():
    newest, held = bouts(-0.1)
    alone = replace(newest, givers=np.full(len(newest.y), "k-1", dtype=object))
    assert duel(alone, held).promote


def lucky():
    """The newest rows praise the challenger, not quite surely; the holdout knows better."""
    for seed in range(200):
        newest, held = bouts(0.0, held_worse=0.3, seed=seed)
        gate = duel(newest).gate
        if gate.promote and gate.probability < 0.99:
            return newest, held
    raise AssertionError("no world was lucky")


def test_the_holdout_objects_to_luck():
    found = duel(*lucky())
    assert found.gate.promote
    assert not found.promote
    assert "frozen holdout" in found.objections["holdout"]
    assert "Refused all the same" in found.reason


def test_a_holdout_of_a_world_that_is_gone_has_no_say():
    newest, held = lucky()
    far = replace(
        held, champion=held.y + 3 * (held.champion - held.y), challenger=held.y + 3 * (held.challenger - held.y)
    )
    assert duel(newest, far).promote


def test_a_world_that_moves_may_take_more_from_the_holdout_than_it_gives_to_the_newest():
    newest, held = bouts(-0.3, held_worse=1.0)
    found = duel(newest, held)
    assert found.promote
    assert "On the frozen holdout" in found.reason


def test_much_worse_on_a_slice_is_refused_and_named():
    rng = np.random.default_rng(3)
    found = duel(regression(rows_of(DAYS, rng), rng, -0.6, slice_worse=1.2))
    assert found.gate.promote
    assert not found.promote
    assert "plan = pro" in found.objections["slice"]


def test_a_little_worse_on_a_slice_is_only_said():
    rng = np.random.default_rng(3)
    found = duel(regression(rows_of(DAYS, rng), rng, -0.4, slice_worse=0.3))
    assert found.promote
    assert [part.slice for part in found.slices] == ["plan = pro"]
    assert "Surely worse on plan = pro" in found.reason


def test_slices_of_very_many_rows_are_judged_in_little_memory():
    rng = np.random.default_rng(3)
    many = replace(regression(rows_of(2000, rng), rng, -0.4, slice_worse=0.3), blocks=None)
    found = weak_slices(many, NUMBERS, "mae", REGRESSION, 0)
    assert [(part.slice, part.much) for part in found] == [("plan = pro", True)]
    assert found[0].worse == pytest.approx(0.3, abs=0.05)


def test_the_fairness_floor_refuses_unless_the_champion_is_more_uneven_still():
    rng = np.random.default_rng(5)
    newest = regression(rows_of(DAYS, rng), rng, -0.5, slice_worse=-0.05)
    rules = Promote(fairness=Fairness(group="plan", floor=0.9))
    found = duel(newest, rules=rules)
    assert found.gate.promote
    assert "below the floor of 0.9" in found.objections["fairness"]
    worse_before = replace(newest, champion=np.where(newest.frame["plan"] == "pro", newest.y + 9, newest.champion))
    assert "fairness" not in duel(worse_before, rules=rules).objections
    assert "fairness" not in duel(newest, rules=Promote(fairness=Fairness(group="plan", floor=0.3))).objections


def test_a_first_version_has_a_floor_too():
    rng = np.random.default_rng(5)
    newest = regression(rows_of(DAYS, rng), rng, -0.5, slice_worse=-0.05)
    rules = Promote(fairness=Fairness(group="plan", floor=0.9))
    found = duel(newest, rules=rules, has_champion=False, versus="the trivial baseline")
    assert not found.promote
    assert set(found.objections) == {"fairness"}


@pytest.mark.parametrize("worse", [True, False])
def test_live_traffic_has_a_veto_and_its_figures_are_told(worse):
    newest, held = bouts(-0.1)
    live = Quality(worse, not worse, 1.0, 1.2 if worse else 0.9, 0.01 if worse else 0.99, 0.98, 400)
    found = duel(newest, held, live=live)
    assert found.promote is not worse
    assert "On live traffic (400 labelled rows)" in found.reason
    assert found.figures()["live"]["candidate"] == live.candidate


def test_figures_are_plain_data():
    import json

    newest, held = bouts(-0.1)
    figures = json.loads(json.dumps(duel(newest, held).figures()))
    assert figures["promote"] is True
    assert figures["frozen_holdout"]["rows"] == HELD_DAYS * 24
    assert figures["objections"] == {}


def test_nan_is_refused_without_a_trace_of_an_error():
    newest, held = bouts(0.0)
    nothing = replace(newest, challenger=np.full(len(newest.y), np.nan))
    assert not duel(nothing, held).promote


def test_at_every_window_only_a_challenger_that_is_shown_to_be_worse_is_kept_out():
    equal, held = bouts(0.0)
    found = duel(equal, held).unless_worse()
    assert found.promote
    assert found.figures()["promote"]
    assert "Promoted all the same: nothing shows that it is worse" in found.reason
    worse = duel(*bouts(0.25)).unless_worse()
    assert not worse.promote
    assert worse.gate.interval[1] < 0
    assert "all the same" not in worse.reason


def test_at_every_window_a_gain_that_hangs_on_one_caller_is_refused_and_luck_is_not():
    poisoned = run(WAYS["20 % of labels flipped by one key, any rows, log loss"], 0, Promote(), 100)
    assert "labels" in poisoned.objections
    assert not poisoned.unless_worse().promote
    found = duel(*lucky()).unless_worse()
    assert found.promote
    assert "Refused" not in found.reason


def test_at_every_window_answers_that_cannot_be_compared_change_nothing():
    newest, held = bouts(0.0)
    broken = replace(newest, challenger=np.full_like(newest.challenger, np.nan))
    assert not duel(broken, held).unless_worse().promote


def test_a_duel_without_new_rows_says_so_and_on_how_many_rows_it_was_held():
    _, held = bouts(0.0)
    found = duel(held).on_holdout(30)
    assert found.reason.startswith(
        "Fewer than 30 new labelled rows have come since the champion's, so the frozen holdout judges. "
        f"On {len(held.y):,} rows that neither has learned from, the challenger has mae"
    )
    assert found.figures()["reason"] == found.reason
    assert found.promote == duel(held).promote
    assert "so the frozen holdout judges" in found.unless_worse().reason


def test_a_step_is_kept_out_by_unfairness_and_broken_answers_alone():
    worse, held = bouts(0.25)
    found = duel(worse, held).as_step()
    assert found.promote
    assert found.reason.startswith("The stream is followed, and labels will judge this step.")
    broken = replace(worse, challenger=np.full_like(worse.challenger, np.nan))
    assert not duel(broken, held).as_step().promote
    unfair = replace(
        duel(worse, held), objections={"fairness": "it is below the floor.", "slice": "it is worse there."}
    )
    assert unfair.as_step().objections == {"fairness": "it is below the floor."}
    assert not unfair.as_step().promote
