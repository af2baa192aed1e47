"""How probable a distance is by chance, as functions of the distance and of how many rows there are on either side.

All hold for any number of rows, however few: none rests on a normal approximation. Rows may be fractions, since rows that
depend on each other count as fewer.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

Array = np.ndarray | float


def ordered_chance(distance: Array, n: Array, m: Array) -> Array:
    """The probability of a Kolmogorov-Smirnov distance of two samples of n and m independent rows, or a larger one.

    Source: P. Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality (1990).

    >>> round(float(ordered_chance(0.081, 300, 5000)), 2)
    0.05
    """
    return np.minimum(1.0, 2 * np.exp(-2 * distance**2 / (1 / n + 1 / m)))


def unordered_chance(distance: Array, n: Array, m: Array, noise: float, cells: int) -> Array:
    """The probability of a total variation, or a larger one: the smaller of two bounds.

    Args:
        distance: The total variation.
        n: Rows on one side.
        m: Rows on the other.
        noise: What `total_variation_noise` says of the shares.
        cells: How many shares there are.

    Source: C. McDiarmid, On the method of bounded differences (1989), for the mean and a deviation, since one row moves it
    by 1 / n: better for many cells. T. Weissman et al., Inequalities for the L1 deviation of the empirical distribution
    (2003), for the union of all sets of cells: better for few.
    """
    spread = 1 / n + 1 / m
    beyond = np.maximum(distance - noise * np.sqrt(spread), 0.0)
    deviation = np.exp(-2 * beyond**2 / spread)
    union = (2.0**cells - 2) * np.exp(-2 * distance**2 / spread)
    return np.minimum(deviation, np.minimum(union, 1.0))


def total_variation_noise(shares: np.ndarray) -> float:
    """The mean total variation of two samples over the square root of their spread, for shares (cells,)."""
    return float(np.sqrt(2 / np.pi) / 2 * np.sqrt(shares * (1 - shares)).sum())


def share_chance(distance: Array, n: Array, m: Array, share: float) -> Array:
    """The probability that a share of m rows is so far from that of n others, or farther, up or down.

    Twice the more probable of the two directions, which is never too little.
    """
    up, down = rise_chance(distance, n, m, share), rise_chance(distance, n, m, 1 - share)
    return np.minimum(1.0, 2 * np.maximum(up, down))


def rise_chance(distance: Array, n: Array, m: Array, share: Array) -> Array:
    """The probability that a share of m rows, `share`, is higher by `distance` or more in n others.

    Given how many rows of both have the property, those among the n are hypergeometric (the exact test of R. Fisher,
    Statistical Methods for Research Workers, 1934). Its terms fall ever faster, so the tail is at most its first term
    times a geometric series; the gamma function carries both to fractions of rows.

    >>> round(float(rise_chance(2 / 30, 30, 5000, 0.0)) * 1e5, 1)  # 2 of 30 rows, none of 5,000: C(30, 2) / C(5030, 2)
    3.4
    """
    after = share + distance
    k, before = n * np.minimum(after, 1.0), m * share
    first = np.exp(_log_choose(n, k) + _log_choose(m, before) - _log_choose(n + m, k + before))
    ratio = (n - k) * before / ((k + 1) * (m - before + 1))  # of the second term to the first
    tail = np.where(ratio < 1, first / np.maximum(1 - ratio, 1e-9), 1.0)
    return np.where(after > 1 + 1e-9, 0.0, np.minimum(tail, 1.0))


def loss_chance(share: Array, n: Array, m: Array) -> Array:
    """The probability that what `share` of m rows have, none of n others has."""
    return rise_chance(share, n, m, 1 - share)


def _log_choose(n: Array, k: Array) -> Array:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
