"""What chance explains is never more than the bounds say, however few the rows, and hardly less."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from treadle.drift.bounds import loss_chance, ordered_chance, rise_chance, share_chance, unordered_chance
from treadle.drift.bounds import total_variation_noise as noise_of

SIX = np.array([0.4, 0.25, 0.15, 0.1, 0.08, 0.02])


@pytest.mark.parametrize(("n", "m"), [(30, 5000), (50, 100), (300, 5000), (3000, 5000)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.15, 0.5, 0.9])
def test_the_tail_of_a_share_is_the_exact_one(n, m, share):
    before = round(m * share)
    k = np.arange(n + 1)
    exact = hypergeom.sf(k - 1, n + m, k + before, n)
    bound = rise_chance(k / n - before / m, n, m, before / m)
    seen = exact > 1e-200  # what is left of smaller ones is not exact
    assert (bound >= exact * (1 - 1e-6))[seen].all()
    rare = seen & (exact < 0.001)
    assert (bound[rare] < 1.5 * exact[rare]).all()


@pytest.mark.parametrize("n", [30, 50, 300])
def test_a_category_that_is_gone_is_as_improbable_as_it_is(n):
    gone = np.array([250, 750, 2000])
    assert loss_chance(gone / 5000, n, 5000) == pytest.approx(hypergeom.pmf(0, 5000 + n, gone, n), rel=1e-6)


def test_a_share_below_none_or_above_all_is_impossible():
    assert rise_chance(0.2, 30, 5000, 0.9) == 0
    assert share_chance(0.2, 30, 5000, 0.1) == pytest.approx(2 * float(rise_chance(0.2, 30, 5000, 0.1)))
    assert share_chance(0.0, 30, 5000, 0.4) == 1


@pytest.mark.parametrize("n", [30, 100, 300])
def test_distances_of_drawn_samples_keep_to_the_bounds(n):
    rng = np.random.default_rng(n)
    now, before = rng.multinomial(n, SIX, 20_000) / n, rng.multinomial(5000, SIX, 20_000) / 5000
    gap = now - before
    apart, cumulative = np.abs(gap).sum(axis=1) / 2, np.abs(np.cumsum(gap, axis=1)).max(axis=1)
    for level in (0.05, 0.001):
        assert (unordered_chance(apart, n, 5000, noise_of(SIX), 6) < level).mean() <= level
        assert (ordered_chance(cumulative, n, 5000) < level).mean() <= level


def test_few_cells_are_bounded_by_their_sets_and_many_by_the_mean():
    for shares, by_sets in ((np.full(3, 1 / 3), True), (np.array([0.95, *[0.05 / 23] * 23]), False)):
        noise = noise_of(shares)
        sets = (2.0 ** len(shares) - 2) * np.exp(-2 * 0.3**2 / 0.01)
        mean = np.exp(-2 * (0.3 - noise * np.sqrt(0.01)) ** 2 / 0.01)
        assert unordered_chance(0.3, 200, 200, noise, len(shares)) == pytest.approx(min(sets, mean))
        assert (sets < mean) == by_sets
