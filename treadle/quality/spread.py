"""How far an estimate may be from the truth: learned from blocks of the reference, where both are known.

Rows that follow each other in time share their luck, so errors of whole blocks say more than errors of rows.

Source: batch means for the long-run variance of a dependent series, C. Alexopoulos, A. Seila, "Output Data Analysis"
(Handbook of Simulation, 1998, chapter 7); the largest over several lengths of block, since which one suffices is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COVERAGE = 0.9
"""Of so many intervals the truth is to be inside."""
BLOCKS = (8, 16, 32)
"""A reference is cut into so many blocks."""
LEAST_ROWS = 20
SHUFFLES = 5


@dataclass(frozen=True)
class Spread:
    """What the squared error of an estimate is worth.

    Attributes:
        variance: Of the error of a window of n rows, times n.
        blocks: How many independent blocks say so.
        rows: Rows of the reference.
    """

    variance: float
    blocks: int
    rows: int

    def margin(self, n: int) -> float:
        """Half the width of the interval for a window of n rows, in the metric's unit; few blocks make it wider."""
        from scipy.stats import t

        quantile = float(t.ppf((1 + COVERAGE) / 2, max(1, self.blocks - 1)))
        return quantile * float(np.sqrt(self.variance * (1 / max(1, n) + 1 / max(1, self.rows))))


def measure_spread(error: Callable[[np.ndarray], float], rows: int, *, timed: bool, seed: int) -> Spread | None:
    """Cut the reference into blocks of several lengths, and see how far estimate and truth are apart in each.

    Args:
        error: Takes row numbers (n,), gives estimate minus truth of these rows; `nan` where either is not known.
        rows: Rows of the reference, in time order where there is time.
        timed: Whether their order means time; else blocks are drawn at random, several times.
        seed: Seed of the draws.

    Returns:
        The spread; `None` where the reference is too short to say.
    """
    rng = np.random.default_rng(seed)
    found: list[Spread] = []
    for count in BLOCKS:
        if rows // count < LEAST_ROWS:
            continue
        orders = [np.arange(rows)] if timed else [rng.permutation(rows) for _ in range(SHUFFLES)]
        errors = np.array([error(np.sort(block)) for order in orders for block in np.array_split(order, count)])
        errors = errors[np.isfinite(errors)]
        if len(errors) >= 4:
            found.append(Spread(float(np.mean(errors**2)) * rows / count, min(count, len(errors)), rows))
    return max(found, key=lambda spread: spread.variance) if found else None
