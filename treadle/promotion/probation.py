"""The probation of a new champion: labels compare it with the one before, on the same rows. It judges; it changes nothing.

The first minutes after a swap are the service's (`serving/releasing/bake.py`: who raises or has no answer is rolled back there). This
is about the days after, when labels come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from treadle.bootstrap import FEWEST_BLOCKS, drawn_means, needed_share

CONFIDENCE = 0.95  # of a rollback, all looks together
MARGIN = 0.02  # share of the loss by which it must be worse
SAMPLES = 2000

State = Literal["running", "passed", "failed", "unknown"]


@dataclass(frozen=True)
class Look:
    """What labels say of a champion on probation.

    Attributes:
        state: `running`, `passed`, `failed`, or `unknown` when the two cannot be compared.
        reason: Why, in plain words.
        version: The champion on probation.
        before: The one before it.
        labelled: Labelled predictions of the champion since the swap; at most so many as end its probation.
        compared: How many of them were compared at the last look that was due.
        loss: The champion's mean loss on those; `None` before the first look.
        loss_before: What the one before would have had.
        probability: Share of the resamples in which the champion is worse.
        needed: Share that is needed for a rollback.
    """

    state: State
    reason: str
    version: int
    before: int
    labelled: int
    compared: int = 0
    loss: float | None = None
    loss_before: float | None = None
    probability: float | None = None
    needed: float | None = None

    def figures(self) -> Mapping[str, Any]:
        """All of it as plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def look_back(
    version: int, before: int, now: np.ndarray, then: np.ndarray, days: np.ndarray | None, *, first: int, most: int,
    over: bool, seed: int = 0,
) -> Look:  # fmt: skip
    """Compare both on the same rows, at the last look that is due.

    Looking at every label until chance says what one waits for would roll every champion back some day. So looks are taken
    at `first` rows and at each doubling, up to `most`, and the k-th look (from 0) may err with probability
    (1 - CONFIDENCE) / 2^(k+1): all looks together with 1 - CONFIDENCE.

    Args:
        version: The champion on probation.
        before: The one before it.
        now: Losses of the champion's answers, in time order (n,).
        then: Losses of what the one before would have answered to the same rows (n,).
        days: The day of each row (n,): rows of one day are drawn together; `None` where rows do not depend on each other.
        first: Rows of the first look.
        most: Rows after which the probation ends.
        over: Whether its time is over.
        seed: Of the bootstrap; the same input gives the same look.

    Source: paired bootstrap, B. Efron and R. Tibshirani (1993), chapter 16; the division of the error is Bonferroni's.
    """
    known = np.isfinite(now) & np.isfinite(then)
    now, then, days = now[known], then[known], None if days is None else days[known]
    labelled, ends = len(now), over or len(now) >= most
    rows = _due(min(labelled, most), first)
    units = rows if days is None else len(np.unique(days[:rows]))
    if not rows or units < FEWEST_BLOCKS:
        what = f"{labelled:,} labels on {units} days" if rows else f"{labelled:,} labels"
        wanted = f"{first:,} on {FEWEST_BLOCKS} days are needed" if days is not None else f"{first:,} are needed"
        state: State = "passed" if over else "running"
        end = " Its time is over, so it stays." if over else ""
        return Look(
            state, f"{what} of version {version} since the swap; {wanted} to compare.{end}", version, before, labelled
        )
    blocks = None if days is None else days[:rows]
    drawn = drawn_means(now[:rows] - then[:rows], blocks, np.random.default_rng(seed), SAMPLES)
    probability = float(np.mean(drawn > 0))
    needed = needed_share(1 - (1 - CONFIDENCE) / 2 ** (1 + int(math.log2(rows / first))), units)
    loss, loss_before = float(now[:rows].mean()), float(then[:rows].mean())
    failed = probability >= needed and loss > (1 + MARGIN) * loss_before
    state = "failed" if failed else "passed" if ends else "running"
    reason = (
        f"On {rows:,} labelled predictions since the swap version {version} has the mean loss {loss:.4g}, version {before} would "
        f"have had {loss_before:.4g}; worse in {probability:.1%} of the resamples, {needed:.1%} are needed for a rollback: "
        f"{_END[state]}."
    )
    return Look(state, reason, version, before, labelled, rows, loss, loss_before, probability, needed)


_END = {"failed": "it is worse", "passed": "it has stood its probation", "running": "the probation goes on"}


def _due(labelled: int, first: int) -> int:
    """Rows of the last look that is due; 0 before the first.

    >>> [_due(n, 50) for n in (49, 50, 99, 100, 430)]
    [0, 50, 50, 100, 400]
    """
    return first * 2 ** int(math.log2(labelled / first)) if labelled >= first else 0
