"""The gate passes what is better and only that, the same way every time."""

from dataclasses import replace

import numpy as np
import pytest

from treadle.problems import load_problem
from treadle.promotion.gate import compare

REGRESSION = load_problem("tabular-regression")
CLASSIFICATION = load_problem("tabular-classification")


@pytest.fixture
def truth():
    return np.random.default_rng(0).normal(10, 3, 200)


def noisy(truth, scale, seed):
    return truth + np.random.default_rng(seed).normal(0, scale, len(truth))


def test_better_passes_and_says_so(truth):
    gate = compare(truth, noisy(truth, 2, 1), noisy(truth, 1, 2), REGRESSION, "mae")
    assert gate.promote
    assert gate.gain > 0
    assert gate.interval[0] < gate.gain < gate.interval[1]
    assert "passes" in gate.reason
    assert f"{gate.challenger:.4g}" in gate.reason


def test_worse_and_same_do_not(truth):
    old = noisy(truth, 1, 1)
    assert not compare(truth, old, noisy(truth, 2, 2), REGRESSION, "mae").promote
    assert not compare(truth, old, old, REGRESSION, "mae").promote


def test_min_gain_is_a_bar(truth):
    pair = noisy(truth, 2, 1), noisy(truth, 1, 2)
    assert not compare(truth, *pair, REGRESSION, "mae", min_gain=5).promote


def test_higher_is_better_metrics_are_turned_round(truth):
    assert compare(truth, noisy(truth, 2, 1), noisy(truth, 1, 2), REGRESSION, "r2").gain > 0


def test_same_input_same_gate(truth):
    pair = noisy(truth, 2, 1), noisy(truth, 1.8, 2)
    blocks = np.arange(200) // 24
    assert compare(truth, *pair, REGRESSION, "rmse", blocks=blocks) == compare(
        truth, *pair, REGRESSION, "rmse", blocks=blocks
    )


def test_rows_of_a_day_hang_together(truth):
    """One lucky day among ten makes independent rows sure, and days unsure."""
    old = truth + 1.0
    new = truth + np.where(np.arange(200) < 20, 0.0, 1.02)
    alone = compare(truth, old, new, REGRESSION, "mae")
    by_day = compare(truth, old, new, REGRESSION, "mae", blocks=np.arange(200) // 20)
    assert by_day.probability < alone.probability


def test_nan_never_passes(truth):
    assert not compare(truth, noisy(truth, 1, 1), np.full(200, np.nan), REGRESSION, "mae").promote


@pytest.mark.parametrize("metric", sorted(CLASSIFICATION.metrics))
def test_nan_is_not_taken_for_the_first_class(metric):
    """All rows are of class 0, which the argmax of NaN is, and the champion is always wrong."""
    y = np.zeros(50, dtype=int)
    wrong, nothing = np.tile([0.1, 0.9], (50, 1)), np.full((50, 2), np.nan)
    gate = compare(y, wrong, nothing, CLASSIFICATION, metric)
    assert not gate.promote
    assert "not a number on 50 of 50 rows" in gate.reason


@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("problem", [REGRESSION, CLASSIFICATION])
def test_a_handful_of_rows_proves_nothing(rows, problem):
    y = np.zeros(rows)
    shape = (rows,) if problem is REGRESSION else (rows, 2)
    for metric in problem.metrics:
        gate = compare(y, np.ones(shape), np.zeros(shape), problem, metric)
        assert not gate.promote
        assert f"there are {rows} rows" in gate.reason


def test_equal_answers_are_said_to_be_the_same(truth):
    old = noisy(truth, 1, 1)
    assert "the same (95 %" in compare(truth, old, old, REGRESSION, "mae").reason


def test_worse_is_not_promoted_in_200_trials():
    """With noise alone between them, the challenger passes no more often than the confidence allows."""
    passed = 0
    for seed in range(200):
        truth = np.random.default_rng(seed).normal(0, 1, 100)
        gate = compare(
            truth, noisy(truth, 1, seed + 1000), noisy(truth, 1.15, seed + 2000), REGRESSION, "mae", samples=200
        )
        passed += gate.promote
    assert passed <= 20


@pytest.mark.parametrize(("problem", "metric"), [(p, m) for p in (REGRESSION, CLASSIFICATION) for m in p.metrics])
def test_a_metric_of_the_mean_loss_is_just_that(problem, metric, truth):
    measure = problem.metrics[metric]
    y = truth if problem is REGRESSION else (truth > 10).astype(int)
    share = 1 / (1 + np.exp(10 - noisy(truth, 2, 1)))
    answer = noisy(truth, 2, 1) if problem is REGRESSION else np.column_stack([1 - share, share])
    if measure.of_mean is None:
        assert metric in {"r2", "auc", "f1"}
    else:
        mean = np.array([problem.row_losses(metric, y, answer).mean()])
        assert measure.of_mean(mean)[0] == pytest.approx(measure.score(y, answer))


@pytest.mark.parametrize("blocks", [None, np.arange(200) // 20])
@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_sums_of_blocks_say_what_scoring_every_resample_says(truth, metric, blocks):
    """The interval and the probability, but for the chance of other draws."""
    pair = noisy(truth, 2, 1), noisy(truth, 1.9, 2)
    by_sums = compare(truth, *pair, REGRESSION, metric, blocks=blocks, samples=4000)
    scored = replace(REGRESSION.metrics[metric], of_mean=None)
    slow = type("Slow", (type(REGRESSION),), {"metrics": {metric: scored}})()
    by_scores = compare(truth, *pair, slow, metric, blocks=blocks, samples=4000)
    assert by_sums.gain == by_scores.gain
    assert by_sums.interval == pytest.approx(by_scores.interval, abs=0.03)
    assert by_sums.probability == pytest.approx(by_scores.probability, abs=0.03)
