"""A quality loss at few labelled days: days differ, and one bad day is no drift."""

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Baseline, Reference, Window, judge
from treadle.drift.quality import Null, compare_losses, is_lost
from treadle.project import Watch
from treadle.tables.schema import Column

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


@pytest.mark.parametrize("moved_days", [3, 7])
def test_a_week_is_found_though_the_newest_days_of_the_reference_had_moved_already(moved_days):
    """As after a retrain that had a few labels of a new world and has not learned it."""

    def found(seed):
        rng = np.random.default_rng(seed)
        normal, when = days(83, rng)
        reference = Reference(NOTHING, True, np.where(when >= 83 - moved_days, 2.5, 1.0) * normal, when)
        losses, when = days(7, rng)
        window = Window(NOTHING, 2.5 * losses, when + 1000)
        return is_lost(compare_losses(reference, window, Null(reference, window, seed), seed))

    assert sum(found(seed) for seed in range(20)) >= 16


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


def beside_baseline(seed, skill, normal=0.69, rows=300):
    """Losses of a model that is better than the trivial baseline by `skill`; it was by 0.034 at training."""
    rng = np.random.default_rng(seed)
    trivial = rng.gamma(20, normal / 20, rows)
    own = trivial - skill + rng.normal(0, 0.1, rows)
    reference = Reference(NOTHING, True, rng.gamma(20, 0.656 / 20, 660), np.arange(660) // 3)
    return reference, Window(NOTHING, own, np.arange(rows) // 3 + 1000, baseline=Baseline(normal, trivial))


def useless(seed, skill, **changes):
    reference, window = beside_baseline(seed, skill, **changes)
    return compare_losses(reference, window, Null(reference, window, seed), seed).useless


def test_a_model_that_the_trivial_baseline_beats_is_lost_at_any_ratio():
    pair = beside_baseline(0, -0.03)
    quality = compare_losses(*pair, Null(*pair, 0), 0)
    assert quality.ratio < 1.2
    assert quality.useless
    assert is_lost(quality)
    assert sum(useless(seed, -0.03) for seed in range(20)) >= 18
    assert sum(useless(seed, 0.0) for seed in range(200)) <= 4  # as good as the baseline, half of a per cent each
    assert not any(useless(seed, 0.034) for seed in range(50))


def test_a_model_that_never_beat_it_has_lost_nothing():
    assert not useless(0, -0.03, normal=0.6)


def test_the_reason_and_the_finding_say_so():
    reference, window = beside_baseline(0, -0.03)
    rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300)})
    known = Reference(rows, True, reference.losses, reference.loss_days)
    nan = Window(rows, window.losses.copy(), window.loss_days, baseline=window.baseline)
    nan.losses[7] = np.nan  # an absurd label is left out on both sides
    found = judge(known, nan, [Column(name="x", kind="number")], Watch())
    assert found.verdict == "quality-loss"
    assert "and surely worse than the trivial baseline, 0.6" in found.reason
    (finding,) = [finding for finding in found.findings if finding.kind == "quality"]
    assert finding.certain
    assert finding.said.endswith("and above that of the trivial baseline")
