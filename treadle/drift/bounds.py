"""What a distance may be by chance, as functions of how sure one wants to be and of how much the rows say."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

Array = np.ndarray | float


def ordered_bound(level: float, spread: Array) -> Array:
    """The Kolmogorov-Smirnov distance that two samples exceed with probability `level` at most.

    Args:
        level: The probability.
        spread: 1 / n + 1 / m of two samples of independent rows.

    Source: P. Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality (1990).

    >>> round(float(ordered_bound(0.05, 1 / 300 + 1 / 5000)), 3)
    0.081
    """
    return np.sqrt(np.log(2 / level) / 2 * spread)


def unordered_bound(level: float, spread: Array, noise: float) -> Array:
    """The total variation that two samples exceed with probability `level` at most: its mean, and a deviation.

    Args:
        level: The probability.
        spread: As above.
        noise: What `total_variation_noise` says of the shares.

    Source: C. McDiarmid, On the method of bounded differences (1989), since one row moves it by 1 / n.
    """
    return noise * np.sqrt(spread) + np.sqrt(np.log(1 / level) / 2 * spread)


def total_variation_noise(shares: np.ndarray) -> float:
    """The mean total variation of two samples over the square root of their spread, for shares (cells,)."""
    return float(np.sqrt(2 / np.pi) / 2 * np.sqrt(shares * (1 - shares)).sum())


def share_bound(level: float, spread: Array, share: float) -> Array:
    """How far a share may rise above `share` with probability `level` at most, by the arcsine's constant variance.

    Source: F. Anscombe, The transformation of Poisson, binomial and negative-binomial data (1948).
    """
    top = np.arcsin(np.sqrt(share)) + norm.isf(level) / 2 * np.sqrt(spread)
    return np.sin(np.minimum(top, np.pi / 2)) ** 2 - share


def share_fall_bound(level: float, spread: Array, share: float) -> Array:
    """How far a share may fall below `share` with probability `level` at most."""
    low = np.arcsin(np.sqrt(share)) - norm.isf(level) / 2 * np.sqrt(spread)
    return share - np.sin(np.maximum(low, 0.0)) ** 2
