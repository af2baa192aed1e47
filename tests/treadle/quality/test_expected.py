"""Expected metrics are what the metrics are on average, when labels come as the probabilities say."""

import numpy as np
import pytest

from treadle.problems import load_problem
from treadle.quality.calibration import Calibration, calibrate
from treadle.quality.expected import expected_class_losses, expected_class_metric, number_metric


def draw(chances, rng):
    """Classes (n,) that come true with these chances."""
    return (chances.cumsum(axis=1) > rng.random((len(chances), 1))).argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy", "auc", "f1"])
def test_the_expected_metric_is_the_mean_of_many_draws(metric, classes):
    """The model's own probabilities are too sure of themselves and rounded, so that ties are there too."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.full(classes, 0.7), 400)
    answer = np.round(chances**1.5 + 0.01, 2)
    answer /= answer.sum(axis=1, keepdims=True)
    score = load_problem("tabular-classification").metrics[metric].score
    drawn = [score(draw(chances, rng), answer) for _ in range(200)]
    assert expected_class_metric(metric, chances, answer) == pytest.approx(np.mean(drawn), abs=4e-3)


def test_losses_are_those_of_the_rows():
    rng = np.random.default_rng(2)
    chances, answer = rng.dirichlet([1, 1, 1], 50), rng.dirichlet([1, 1, 1], 50)
    problem = load_problem("tabular-classification")
    for metric in ("log_loss", "brier", "accuracy"):
        by_class = np.column_stack([problem.row_losses(metric, np.full(50, k), answer) for k in range(3)])
        assert np.allclose(expected_class_losses(metric, chances, answer), (by_class * chances).sum(axis=1))


def test_regression_metrics_from_losses():
    rng = np.random.default_rng(3)
    answer = rng.normal(0, 3, 5000)
    y = answer + rng.normal(0, 1, 5000)
    metrics = load_problem("tabular-regression").metrics
    assert number_metric("mae", np.abs(y - answer), answer) == pytest.approx(metrics["mae"].score(y, answer))
    assert number_metric("rmse", (y - answer) ** 2, answer) == pytest.approx(metrics["rmse"].score(y, answer))
    assert number_metric("r2", (y - answer) ** 2, answer) == pytest.approx(metrics["r2"].score(y, answer), abs=0.01)


def test_one_class_alone_has_no_area():
    answer = np.array([[0.2, 0.8], [0.6, 0.4]])
    assert np.isnan(expected_class_metric("auc", np.array([[0.0, 1.0], [0.0, 1.0]]), answer))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_model_that_is_too_sure_is_calibrated_and_a_sound_one_left_alone(classes):
    rng = np.random.default_rng(4)
    chances = rng.dirichlet(np.full(classes, 1.0), 3000)
    y, fold = draw(chances, rng), np.arange(3000) % 5
    sure = chances**3 / (chances**3).sum(axis=1, keepdims=True)
    calibration, unseen = calibrate(sure, y, fold)
    assert calibration.maps
    assert np.allclose(unseen.sum(axis=1), 1)
    assert np.abs(calibration(sure) - chances).mean() < np.abs(sure - chances).mean() / 2
    assert calibrate(chances, y, fold)[0] == Calibration()
