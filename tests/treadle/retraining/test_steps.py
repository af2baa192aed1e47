"""Steps are judged together: they go on while they pay, stop when the rows have doubled without proof, and are undone if much worse."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from treadle.ledger import Ledger, Version
from treadle.project import Project
from treadle.retraining.steps import KIND, Followed, begun, followed_of, judge_steps, may_begin

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
ROWS, DAYS = 600, 30
PROJECT = Project.model_validate(
    {
        "name": "m",
        "problem": "tabular-regression",
        "data": {"source": "x.csv", "target": "y"},
        "retrain": {"follow": 0.02},
    }
)
STEPS = Followed(base=2, base_rows=1000, version=12, rows=1250, won=2)


def losses(factor, seed=0):
    """What was served and what the base would have lost, `factor` times as much, on thirty days of twenty rows."""
    rng = np.random.default_rng(seed)
    days = np.repeat(np.arange(DAYS), ROWS // DAYS)
    shared = rng.gamma(4, 1, ROWS) * (1 + 0.3 * rng.random(DAYS))[days]
    return shared, factor * shared * np.exp(rng.normal(0, 0.2, ROWS) - 0.02), days


def judged(factor, followed=STEPS, seed=0):
    now, then, days = losses(factor, seed)
    return judge_steps(followed, now, then, days, first=50)


def test_steps_that_pay_become_the_new_base():
    after, state, said = judged(1.1)
    assert (after, state) == (replace(begun(12, 1250), won=2), "pays")
    assert "the steps since version 2 have the mean loss" in said


def test_a_gain_on_one_keys_labels_alone_is_no_proof():
    """Who lies praises the step that believes him; the others' labels show nothing."""
    now, then, days = losses(1.0)
    givers = np.where(np.arange(ROWS) % 3 == 0, "thief", "shop").astype(object)
    after, state, said = judge_steps(
        STEPS, now, np.where(givers == "thief", 2 * now, now), days, first=50, givers=givers
    )
    assert (after.stretches, state) == (1, "follows")
    assert "without the labels of the key thief hardly a gain is left: that is no proof yet" in said
    nobody = np.full(ROWS, "", dtype=object)
    assert judge_steps(STEPS, now, 1.2 * now, days, first=50, givers=nobody)[1] == "pays"
    assert judge_steps(STEPS, now, 1.2 * now, days, first=50, givers=givers)[1] == "pays"


def test_without_proof_they_are_over_once_the_rows_have_doubled():
    followed, states = STEPS, []
    for rows in (1250, 1500, 1750, 2000):
        followed, state, _ = judged(1.0, replace(followed, rows=rows))
        states.append(state)
    assert states == ["follows", "follows", "follows", "over"]


def test_between_two_refits_steps_are_updates_of_the_last():
    """A project that follows by a fiftieth: a step each 0.5 % of growth, a refit each 4 %."""
    won = begun(2, 1000, updates=True)
    assert (won.needed(0.02), begun(2, 1000).needed(0.02)) == (5, 20)
    updated = won.step(3, 1005, is_update=True)
    assert (updated.version, updated.rows, updated.refit, updated.refit_rows) == (3, 1005, 2, 1000)
    assert updated.may_update(1039, 0.02)
    assert not updated.may_update(1040, 0.02)
    refit = updated.step(4, 1040)
    assert (refit.refit, refit.refit_rows) == (4, 1040)
    assert refit.may_update(1041, 0.02)
    assert not begun(2, 1000).step(3, 1020).may_update(1021, 0.02)


def test_what_pays_stays_an_update_of_its_refit():
    steps = replace(STEPS, updates=True, refit=11, refit_rows=1240)
    after, state, _ = judged(1.1, steps)
    assert state == "pays"
    assert (after.base, after.base_rows, after.refit, after.refit_rows) == (12, 1250, 11, 1240)
    assert after.may_update(1260, 0.02)


def test_how_an_earlier_release_followed_is_read_as_refits():
    """Its figures know no updates."""
    old = {"base": 2, "base_rows": 1000, "version": 12, "rows": 1250, "won": 2, "stretches": 0, "state": "follows"}
    assert Followed.of(old) == STEPS


def test_between_two_stretches_nothing_is_said_of_pay():
    few = replace(STEPS, rows=1249)
    after, state, said = judged(1.1, few)
    assert (after, state) == (few, "follows")
    assert said.endswith("Labels say whether it pays from 1,250 rows on.")


def test_steps_that_do_nothing_seldom_pay():
    assert sum(judged(1.0, seed=seed)[1] == "pays" for seed in range(60)) <= 8


@pytest.mark.parametrize(("factor", "state"), [(0.5, "worse"), (0.9, "follows")])
def test_only_steps_that_are_much_worse_are_undone(factor, state):
    assert judged(factor, replace(STEPS, rows=1100))[1] == state


def test_a_few_days_prove_nothing():
    now, then, days = losses(2.0)
    assert judge_steps(STEPS, now[:40], then[:40], days[:40], first=50)[1] == "follows"


def test_a_stream_is_followed_only_after_a_loss_and_with_rows_to_look_at():
    assert may_begin(PROJECT, "quality-loss", held=100)
    assert not may_begin(PROJECT, "drift", held=100)
    assert not may_begin(PROJECT, "quality-loss", held=0)
    assert not may_begin(
        PROJECT.model_copy(update={"promote": PROJECT.promote.model_copy(update={"approval": "human"})}),
        "quality-loss",
        held=100,
    )
    patient = PROJECT.model_copy(update={"retrain": PROJECT.retrain.model_copy(update={"follow": None})})
    assert not may_begin(patient, "quality-loss", held=100)


def test_the_ledger_tells_how_far_it_was_followed(settings):
    ledger = Ledger.open(settings)
    assert followed_of(ledger, PROJECT, 12) is None
    ledger.record_decision("m", KIND, "A step.", dict(replace(STEPS, version=11).figures()), NOW)
    ledger.add_version(Version("m", 12, "run", "b/12", "d" * 64, "linear", {}, {}, None))
    ledger.promote("m", 12, None, reason="a step", figures={KIND: dict(STEPS.figures())})
    assert followed_of(ledger, PROJECT, 12) == STEPS
    assert followed_of(ledger, PROJECT, 13) is None  # it came by another way
    later = replace(STEPS, stretches=1)
    ledger.record_decision("m", KIND, "No proof yet.", dict(later.figures()), NOW)
    assert followed_of(ledger, PROJECT, 12) == later
    ledger.record_decision("m", KIND, "It does not pay.", dict(STEPS.figures("over")), NOW)
    assert followed_of(ledger, PROJECT, 12) is None
