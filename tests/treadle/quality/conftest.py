"""Estimators take a second to learn, so every test of this folder shares them."""

import pytest

from tests.treadle.quality.worlds import World

WORLDS = [World("tabular-regression", "mae"), World("tabular-classification", "log_loss")]


@pytest.fixture(scope="session", params=WORLDS, ids=lambda world: world.metric)
def learned_often(request):
    """A world, and what was learned to estimate its model by from three sets of rows: chance is in them, too."""
    return request.param, [request.param.estimator(seed=seed) for seed in (91, 92, 93)]


@pytest.fixture
def learned(learned_often):
    """A world, and what was learned to estimate its model by."""
    world, estimators = learned_often
    return world, estimators[0]
