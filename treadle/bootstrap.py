"""The bootstrap's draws, by blocks where rows depend on each other; and how many of them must agree to be sure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

MOST_UNITS = 500  # of more rows that do not depend on each other, some are drawn together: the draws stay megabytes
FEWEST_BLOCKS = 4  # of fewer blocks every draw may agree by chance, so rows are drawn


def resamples(n: int, blocks: np.ndarray | None, rng: np.random.Generator, samples: int) -> Iterator[np.ndarray]:
    """Row indexes of each bootstrap sample, one at a time: all of them would be gigabytes on a large window.

    Args:
        n: Rows.
        blocks: A label a row (n,), such as its day: rows of one block are drawn together. `None`, or one block, draws rows.
        rng: Where chance comes from.
        samples: How many.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993); over blocks, H. Künsch (1989).
    """
    groups = [np.flatnonzero(blocks == block) for block in np.unique(blocks)] if blocks is not None else []
    for _ in range(samples):
        if len(groups) < 2:
            yield rng.integers(0, n, n)
        else:
            yield np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])


def drawn_means(values: np.ndarray, blocks: np.ndarray | None, rng: np.random.Generator, samples: int) -> np.ndarray:
    """The mean of each bootstrap sample of some values; of whole blocks at once, by their sums.

    Args:
        values: Shape (n,), or (n, k) for k means of the same draws.
        blocks: A label a row (n,): rows of one block are drawn together. `None` draws rows.
        rng: Where chance comes from.
        samples: How many.

    Returns:
        Shape (samples,) or (samples, k).
    """
    if blocks is None:
        n = len(values)
        times = (np.bincount(rows, minlength=n) for rows in resamples(n, None, rng, samples))
        return np.array([drawn @ values for drawn in times]) / n
    codes = np.unique(blocks, return_inverse=True)[1]
    sums, counts = block_sums(codes, values), np.bincount(codes)
    drawn = block_draws(len(sums), rng, samples)
    return ((drawn @ sums).T / (drawn @ counts)).T


def block_sums(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums by block of values (n,) or (n, k), whose blocks are `codes` (n,) from 0 on; shape (blocks,) or (blocks, k)."""
    sums = np.zeros((int(codes.max()) + 1, *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def unit_codes(n: int, blocks: np.ndarray | None) -> np.ndarray:
    """Which unit each row is drawn with (n,), from 0 on: its block; where there are too few of them itself, or some rows together."""
    blocks = blocks_or_rows(blocks)
    return np.arange(n) % MOST_UNITS if blocks is None else np.unique(blocks, return_inverse=True)[1]


def block_draws(blocks: int, rng: np.random.Generator, samples: int) -> np.ndarray:
    """How often each bootstrap sample has each of so many blocks, (samples, blocks)."""
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), samples).astype(float)


def blocks_or_rows(blocks: np.ndarray | None) -> np.ndarray | None:
    """The blocks, if there are enough of them to draw from; else `None`, which draws rows."""
    return blocks if blocks is not None and len(np.unique(blocks)) >= FEWEST_BLOCKS else None


def needed_share(confidence: float, units: int) -> float:
    """Share of the draws that must agree for `confidence`, when `units` rows or blocks are drawn.

    Draws of few units vary less than the truth does: by √((k - 1) / k), and as a normal variable instead of Student's t. So
    more of them must agree; of many units, as many as `confidence` says.

    Source: T. Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015), the expanded
        percentile interval.

    >>> round(needed_share(0.9, 7), 3), round(needed_share(0.9, 5000), 3)
    (0.94, 0.9)
    """
    from scipy.stats import t

    if units < 2:
        return 1.0
    return NormalDist().cdf(math.sqrt(units / (units - 1)) * float(t.ppf(confidence, units - 1)))
