"""A quality loss at few labelled days: days differ, and one bad day is no drift."""

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference, Window
from treadle.drift.quality import Null, compare_losses, is_lost

NOTHING = pd.DataFrame({"x": [0.0]})


def days(count, rng, rows=24):
    """Losses that vary by a third from day to day, (count * rows,), and their days."""
    level = np.repeat(rng.lognormal(0, 0.33, count), rows)
    return level * rng.lognormal(0, 0.7, count * rows), np.repeat(np.arange(count), rows)


def lost(seed, labelled_days, times=1.0, reference_days=83, timed=True):
    rng = np.random.default_rng(seed)
    reference = Reference(NOTHING, timed, *days(reference_days, rng))
    losses, when = days(labelled_days, rng)
    window = Window(NOTHING, times * losses, when + 1000)
    return is_lost(compare_losses(reference, window, Null(reference, window, seed), seed))


@pytest.mark.parametrize("labelled_days", [1, 4, 7])
def test_few_quiet_days_are_quiet(labelled_days):
    assert sum(lost(seed, labelled_days) for seed in range(60)) <= 4


@pytest.mark.parametrize("labelled_days", [3, 7])
def test_a_doubled_loss_is_found(labelled_days):
    assert sum(lost(seed, labelled_days, times=2) for seed in range(20)) >= 16


@pytest.mark.parametrize("reference_days", [1, 3, 9])
@pytest.mark.parametrize("timed", [False, True])
def test_short_references_do(reference_days, timed):
    assert not lost(3, 1, reference_days=reference_days, timed=timed)
    assert lost(3, 5, times=9, reference_days=reference_days, timed=timed)


def test_drawn_windows_are_as_long_as_the_window():
    """Means of one drawn day vary like days; means of eighty like the mean of all."""
    rng = np.random.default_rng(0)
    reference = Reference(NOTHING, True, *days(83, rng))
    for count, low, high in ((1, 0.3, 0.6), (40, 0.03, 0.12)):
        window = Window(NOTHING, *days(count, rng))
        ratios = Null(reference, window, 1).ratios(reference.losses[:, None])
        assert low < np.std(ratios) < high
        assert np.mean(ratios) == pytest.approx(1, abs=0.05)
