"""A retrain starts warm, from the champion's parameters, and searches in full only when that disappoints.

Plain numbers; knows nothing of searches or versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rehearsed:
    """How a version's rehearsal did on the rows that judged it.

    Attributes:
        metric: The metric that decided.
        low: One end of its 95 % interval.
        high: The other.
        baseline: The trivial baseline's value on the same rows.
    """

    metric: str
    low: float
    high: float
    baseline: float

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Rehearsed:
        """From plain data with these keys."""
        return cls(str(figures["metric"]), float(figures["low"]), float(figures["high"]), float(figures["baseline"]))


def skill(value: float, baseline: float, *, higher_is_better: bool) -> float:
    """How far a metric is from the trivial baseline's towards perfection: 0 is no better, 1 is perfect.

    Rows of two times may be of different size or difficulty; what a model adds to the baseline on each can be compared.

    Source: the skill score, A. Murphy, Monthly Weather Review 116 (1988).

    >>> skill(20.0, 80.0, higher_is_better=False), skill(0.9, 0.5, higher_is_better=True)
    (0.75, 0.8)
    """
    if higher_is_better:
        return (value - baseline) / (1 - baseline) if baseline < 1 else float("nan")
    return 1 - value / baseline if baseline > 0 else float("nan")


def disappointment(champion: Rehearsed, value: float, baseline: float, *, higher_is_better: bool) -> str | None:
    """Why the best of a warm start is not good enough, in plain words; `None` if it is.

    It disappoints if its skill is below the worse end of the interval of the champion's.

    Args:
        champion: How the champion's rehearsal did.
        value: The metric of the best warm trial on the rows that compare trials.
        baseline: The trivial baseline's on the same rows.
        higher_is_better: Of the metric.
    """
    ends = [skill(end, champion.baseline, higher_is_better=higher_is_better) for end in (champion.low, champion.high)]
    reached = skill(value, baseline, higher_is_better=higher_is_better)
    if not all(map(math.isfinite, [*ends, reached])) or reached >= min(ends):
        return None
    return (
        f"the best warm trial is {reached:.0%} of the way from the trivial baseline to perfect {champion.metric}, the champion's "
        f"rehearsal was {min(ends):.0%} to {max(ends):.0%}"
    )
