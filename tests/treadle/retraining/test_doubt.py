"""A step learns nothing from a key in doubt; lies that stay below suspicion cost its callers next to nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.steps import run
from tests.answered import answered
from treadle.ledger import Feedback, Ledger, Version
from treadle.ledger.set_aside import put_aside, release
from treadle.project import Project
from treadle.retraining.doubt import fresh_for_step
from treadle.retraining.steps import begun
from treadle.retraining.suspicion import examine

WON = datetime(2024, 5, 1, tzinfo=UTC)
NOW = WON + timedelta(days=3)
PROJECT = Project.model_validate(
    {
        "name": "m",
        "problem": "tabular-classification",
        "data": {"source": "x.csv", "target": "y"},
        "retrain": {"follow": 0.02},
    }
)
FOLLOWED = begun(1, 1000)


@pytest.fixture
def ledger(settings):
    ledger = Ledger.open(settings)
    ledger.add_version(Version("m", 1, "run", "b/1", "d" * 64, "linear", {}, {}, WON))
    return ledger


def give(ledger, key, labels, wrong, since=WON):
    """So many labels of one key, one a minute, of which a share contradicts the model; all keys are as old as another."""
    rng = np.random.default_rng(5)
    ids = [f"{key}-{since:%d}-{i}" for i in range(labels)]
    times = [since + timedelta(minutes=i + 1) for i in range(labels)]
    answer = json.dumps({"prediction": "yes"})
    ledger.add_entries([answered(id_, "m", 1, at, "{}", answer) for id_, at in zip(ids, times, strict=True)])
    said = rng.permutation(["no"] * round(wrong * labels) + ["yes"] * (labels - round(wrong * labels)))
    given = [Feedback(id_, str(label), at) for id_, label, at in zip(ids, said, times, strict=True)]
    ledger.add_feedback("m", given, key_id=key)


def lived(way, learner, trials=4):
    with threadpool_limits(1):
        return [run(way, learner, seed) for seed in range(trials)]


def fresh(ledger):
    return fresh_for_step(ledger, PROJECT, FOLLOWED, NOW)


def test_honest_keys_are_all_learned_from(ledger):
    for key in ("shop", "till", "web"):
        give(ledger, key, 80, 0.2)
    assert (fresh(ledger).labels, fresh(ledger).left_out, fresh(ledger).said) == (240, frozenset(), "")


def test_a_key_that_stays_below_suspicion_is_left_out_of_steps(ledger):
    give(ledger, "shop", 120, 0.1)
    give(ledger, "thief", 80, 0.3)
    assert examine(ledger, PROJECT, NOW).labels == 0
    found = fresh(ledger)
    assert (found.labels, list(found.doubts)) == (120, ["thief"])
    assert found.left_out == {f"thief-01-{i}" for i in range(80)}
    assert found.said.startswith("Steps learn nothing from this key: Key thief gave 80 labels")


def test_what_a_duel_has_judged_is_not_left_out_and_tells_whose_rows_are_hard(ledger):
    give(ledger, "shop", 120, 0.1)
    give(ledger, "hard", 80, 0.3)
    give(ledger, "hard", 60, 0.3, since=WON - timedelta(days=9))
    assert fresh(ledger).doubts == {}
    give(ledger, "shop", 60, 0.1, since=WON - timedelta(days=9))
    assert fresh(ledger).doubts == {}


def test_a_key_whose_labels_are_set_aside_is_in_doubt_until_a_person_has_said_so(ledger):
    give(ledger, "shop", 120, 0.1)
    give(ledger, "thief", 80, 0.1)
    with ledger.change() as connection:
        put_aside(connection, "m", "thief", WON, WON + timedelta(minutes=40), "it was suspicious")
    assert (fresh(ledger).labels, len(fresh(ledger).left_out)) == (120, 40)
    assert "labels of thief are set aside" in fresh(ledger).said
    release(ledger, "m", "a person")
    assert (fresh(ledger).labels, fresh(ledger).left_out) == (200, frozenset())


def test_one_key_alone_is_compared_with_nobody(ledger):
    give(ledger, None, 200, 0.6)
    ledger.add_entries([answered("late", "m", 1, WON, "{}", '{"prediction": "yes"}')])
    ledger.add_feedback("m", [Feedback("late", "yes", datetime.now(UTC) + timedelta(days=9))])
    assert examine(ledger, PROJECT, NOW).labels == 1  # a date from a wrong clock is nobody's lie
    assert (fresh(ledger).labels, fresh(ledger).doubts) == (200, {})


def test_only_rows_that_the_newest_step_does_not_know_are_new(ledger):
    give(ledger, "shop", 120, 0.1)
    give(ledger, "thief", 80, 0.3)
    ledger.add_version(replace(ledger.version("m", 1), version=2, data_until=WON + timedelta(minutes=60)))
    found = fresh_for_step(ledger, PROJECT, FOLLOWED.step(2, 1060), NOW)
    assert (found.labels, len(found.left_out)) == (60, 80)


@pytest.mark.parametrize("learner", ["regression", "classification"])
def test_lies_of_half_the_labels_cost_what_is_left_of_them_and_never_pay(learner):
    """Four in ten of one key's labels are turned round. Without doubt the loss would be a sixth higher, and would be praised."""
    trials = lived("half, 40 % of them flipped", learner)
    with_, without = (np.array([trial.extra[side] for trial in trials]) for side in (0, 1))
    assert with_.max() < 0.06 < without.mean()
    assert np.mean([trial.lies[0] for trial in trials]) < 0.1 * np.mean([trial.lies[1] for trial in trials])


@pytest.mark.parametrize("learner", ["regression", "classification"])
def test_nobody_lies_and_nothing_is_lost(learner):
    trials = lived("nobody lies", learner)
    assert sum(trial.aside for trial in trials) == 0
    assert max(trial.extra[0] for trial in trials) < 0.05
