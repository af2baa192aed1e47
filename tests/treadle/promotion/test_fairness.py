"""Fairness by group: equal opportunity for classes, losses for numbers."""

import numpy as np
import pandas as pd
import pytest

from treadle.problems import load_problem
from treadle.promotion.fairness import FEWEST, measure_fairness
from treadle.tables.schema import Column, Schema

CLASSES = Schema(columns=(Column(name="sex", kind="category"),), target="hired", classes=("no", "yes"))
NUMBERS = Schema(columns=CLASSES.columns, target="pay")
CLASSIFICATION, REGRESSION = load_problem("tabular-classification"), load_problem("tabular-regression")


def answers(recognised_f, recognised_m, n=100):
    """n rows of each class and group; the 'yes' of each group are recognised that often, every 'no' is."""
    groups = pd.Series(np.repeat(["f", "m"], 2 * n), name="sex")
    y = np.tile(np.repeat([1, 0], n), 2)
    given = np.zeros(4 * n)
    given[: int(recognised_f * n)] = 1
    given[2 * n : 2 * n + int(recognised_m * n)] = 1
    return groups, y, np.column_stack([1 - given, given])


def test_equal_opportunity_is_the_ratio_of_recognised_shares():
    groups, y, given = answers(0.4, 0.8)
    found = measure_fairness(groups, y, given, CLASSIFICATION, "accuracy", CLASSES)
    assert found.ratio == pytest.approx(0.5)
    assert (found.worst, found.best, found.group) == ("f", "m", "sex")
    assert "'yes'" in found.measured


def test_it_agrees_with_fairlearns_own_measure():
    from fairlearn.metrics import equal_opportunity_ratio

    groups, y, given = answers(0.63, 0.9)
    theirs = equal_opportunity_ratio(y, given.argmax(axis=1), sensitive_features=groups)
    assert measure_fairness(groups, y, given, CLASSIFICATION, "auc", CLASSES).ratio == pytest.approx(theirs)


def test_numbers_are_compared_by_their_losses():
    groups = pd.Series(np.repeat(["f", "m"], 50), name="sex")
    found = measure_fairness(groups, np.zeros(100), np.repeat([4.0, 2.0], 50), REGRESSION, "mae", NUMBERS)
    assert found.ratio == pytest.approx(0.5)
    assert (found.worst, found.best) == ("f", "m")


def test_rows_without_a_group_and_small_groups_say_nothing():
    groups, y, given = answers(0.4, 0.8, n=FEWEST - 1)
    assert np.isnan(measure_fairness(groups, y, given, CLASSIFICATION, "auc", CLASSES).ratio)
    groups, y, given = answers(0.4, 0.8)
    groups[groups == "f"] = None
    assert np.isnan(measure_fairness(groups, y, given, CLASSIFICATION, "auc", CLASSES).ratio)


def test_nobody_recognised_in_one_group_is_zero():
    groups, y, given = answers(0.0, 0.8)
    assert measure_fairness(groups, y, given, CLASSIFICATION, "auc", CLASSES).ratio == 0
