"""Many comparisons at once: which of them hold, with so many chances to be wrong, and how often all that errs.

Source of the step-down: S. Holm, A simple sequentially rejective multiple test procedure (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from treadle.drift.comparison import Comparison
from treadle.drift.records import Finding

CERTAIN = 0.2  # what exceeds the threshold of a fifth of the level needs no second look


def findings(comparisons: Sequence[Comparison], level: float) -> list[Finding]:
    """Which comparisons exceed what all of them together exceed by chance with probability `level` at most.

    Args:
        comparisons: Of one family; several of one kind and name become one finding, the farthest.
        level: The probability that a quiet window yields any finding at all.
    """
    drifted: set[int] = set()
    while True:
        each = level / max(1, len(comparisons) - len(drifted))
        more = {i for i, c in enumerate(comparisons) if c.exceeds(each)}
        if more <= drifted:
            break
        drifted |= more
    best: dict[str, Finding] = {}
    for index, comparison in enumerate(comparisons):
        found = _finding(comparison, each, index in drifted, CERTAIN * level / len(comparisons))
        known = best.get(found.key)
        if known is None or found.excess > known.excess:
            best[found.key] = found
    return list(best.values())


def _finding(c: Comparison, level: float, drifted: bool, certain_level: float) -> Finding:
    certain = drifted and c.exceeds(certain_level)
    rounded = round(c.statistic, 4), round(c.threshold(level), 4), round(c.effect, 4)
    return Finding(c.kind, c.name, *rounded, drifted, certain, c.said)


def quiet_rate(families: Sequence[tuple[Sequence[Comparison], float]]) -> tuple[float | None, int]:
    """How often families of comparisons call a quiet block of the reference moved, and on how many blocks that was seen.

    Args:
        families: Comparisons with the level of each family. Those with other blocks are counted apart, and added.
    """
    alarms: dict[int, list[np.ndarray]] = {}
    for comparisons, level in families:
        for comparison in comparisons:
            alarm = comparison.false_alarms(level / len(comparisons))
            alarms.setdefault(len(alarm), []).append(alarm)
    if not alarms:
        return None, 0
    rate = sum(float(np.any(some, axis=0).mean()) for some in alarms.values())
    return round(min(1.0, rate), 4), max(alarms)
