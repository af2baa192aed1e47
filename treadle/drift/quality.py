"""Concept drift: is the loss on labelled rows higher than it was normal at training?

Two questions must both say yes. Would as many days of the reference have so high a mean? And is the window's own mean
surely above, by its own days? The first knows how days differ even where the window has but one of them; the second
knows what the reference may have never seen.
"""

from __future__ import annotations

import numpy as np

from treadle.drift.records import Quality, Reference, Window

FALSE_ALARM = 0.02  # of each of the two questions, for a large loss; both together err half as often
SMALL_FALSE_ALARM = 0.005  # the same for a small one, of which quiet weeks have more
LONE_FALSE_ALARM = 0.004  # of the first, where days are too few for the second
USELESS_FALSE_ALARM = 0.005  # of the question whether the trivial baseline is better
LEAST_LOSS = 0.05  # a mean loss must grow by more than this share
LARGE = 1.35  # times the normal loss: so much is believed at one look, less when labels that are new confirm it
LEAST_DAYS = 4  # of which a window's own variation can be told
LEAST_UNITS = 8
UNITS = 20  # parts of a reference that covers fewer days
DRAWS = 2000
SAMPLES = 4000


def compare_losses(reference: Reference, window: Window, null: Null, seed: int) -> Quality:
    """The ratio of mean losses, with the lower bound of it that chance leaves standing."""
    old, new = float(reference.losses.mean()), float(window.losses.mean())
    ratio = new / max(old, 1e-12)
    own = len(np.unique(window.loss_days)) >= LEAST_DAYS or not reference.timed
    drawn = null.ratios(reference.losses[:, None])[:, 0]
    level = FALSE_ALARM if ratio >= LARGE else SMALL_FALSE_ALARM
    lower = ratio / max(float(np.quantile(drawn, 1 - (level if own else min(level, LONE_FALSE_ALARM)))), 1e-12)
    if own:
        rng = np.random.default_rng(seed)
        before = bootstrap_means(reference.losses, reference.loss_days, rng)
        now = bootstrap_means(window.losses, window.loss_days, rng)
        lower = min(lower, float(np.quantile(now / np.maximum(before, 1e-12), level)))
    baseline = None if window.baseline is None else float(window.baseline.losses.mean())
    useless = own and _is_useless(reference, window, seed)
    return Quality(old, new, ratio, lower, len(window.losses), baseline, useless, window.loss)


def _is_useless(reference: Reference, window: Window, seed: int) -> bool:
    """Whether the trivial baseline, which the model beat at training, surely loses less on the same rows.

    Ratios to a normal loss say little where even the best model loses almost as much as the baseline: a log loss of 0.656 that
    was 0.69 without any model is lost at 1.06 times.
    """
    if window.baseline is None or not reference.losses.mean() < window.baseline.normal:
        return False
    excess = window.losses - window.baseline.losses
    if excess.mean() <= 0:  # as almost always: no need to draw
        return False
    more = bootstrap_means(excess, window.loss_days, np.random.default_rng(seed))
    return float(np.quantile(more, USELESS_FALSE_ALARM)) > 0


def is_lost(quality: Quality) -> bool:
    """Whether the loss grew, surely and by what matters; that it is above the trivial baseline's always does."""
    return quality.useless or (quality.lower > 1.0 and quality.ratio > 1 + LEAST_LOSS)


class Null:
    """What windows would be if nothing had changed: as many days, with as many rows each, drawn from the reference.

    Days are drawn in runs, since one day resembles the next (H. Künsch, The jackknife and the bootstrap for general
    stationary observations, 1989), of about the cube root of their number (P. Hall, J. Horowitz and B. Jing 1995); of a
    day with more rows than needed some that follow each other. Where there is no time, rows are drawn.
    """

    def __init__(self, reference: Reference, window: Window, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows, needed = len(reference.losses), len(window.losses)
        self._begins, self._sizes = _units(reference.loss_days) if reference.timed else (np.arange(rows), np.ones(rows))
        self._sizes = self._sizes.astype(np.int64)
        if not reference.timed:
            self._drawn = _times(rng.integers(0, rows, (DRAWS, min(needed, rows))), rows)
            self._again = _times(rng.integers(0, rows, (DRAWS, rows)), rows)
            self._start = None
            return
        by_day = len(self._begins) == len(np.unique(reference.loss_days))
        spans = len(np.unique(window.loss_days)) if by_day else max(1, round(needed / float(self._sizes.mean())))
        self._drawn = _runs(len(self._sizes), spans, rng)
        self._again = _times(_runs(len(self._sizes), len(self._sizes), rng), len(self._sizes))
        self._start = (rng.random(self._drawn.shape) * self._sizes[self._drawn]).astype(np.int64)
        self._each = max(1, -(-needed // spans))

    def ratios(self, values: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
        """Ratios of the means of drawn windows and drawn references, (draws, k).

        Args:
            values: Losses (m, 1), or zeroed outside of each part (m, k).
            parts: Which rows are in which part (m, k); all, when left out.
        """
        inside = np.ones_like(values) if parts is None else parts
        now = self._sums(values) / np.maximum(self._sums(inside), 1e-6)
        totals = [np.add.reduceat(of, self._begins, axis=0) for of in (values, inside)]
        before = (self._again @ totals[0]) / np.maximum(self._again @ totals[1], 1e-6)
        return now / np.maximum(before, 1e-12)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sums (draws, k) of `values` (m, k) over the rows of each drawn window."""
        if self._start is None:
            return self._drawn @ values
        begin, size = self._begins[self._drawn], self._sizes[self._drawn]
        end = self._start + np.minimum(self._each, size)  # beyond the day's end it goes on at its begin
        until, again = begin + np.minimum(end, size), begin + np.maximum(end - size, 0)
        sums = np.empty((DRAWS, values.shape[1]))
        for k, column in enumerate(values.T):
            total = np.concatenate([[0.0], np.cumsum(column)])
            sums[:, k] = (total[until] - total[begin + self._start] + total[again] - total[begin]).sum(axis=1)
        return sums


def _units(days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the reference's days begin and how many rows they have; equal parts of it where days are too few."""
    begins = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    if len(begins) < LEAST_UNITS:
        begins = np.unique(np.linspace(0, len(days), UNITS, endpoint=False).astype(np.int64))
    return begins, np.diff(begins, append=len(days))


def _runs(count: int, spans: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of `spans` days among `count`, in runs, (draws, spans)."""
    run = max(1, min(spans, round(count ** (1 / 3))))
    first = rng.integers(0, count, (DRAWS, -(-spans // run), 1))
    return ((first + np.arange(run)) % count).reshape(DRAWS, -1)[:, :spans]


def _times(index: np.ndarray, count: int) -> np.ndarray:
    """How often each draw drew each of `count`, (draws, count)."""
    flat = np.arange(len(index))[:, None] * count + index
    return np.bincount(flat.ravel(), minlength=len(index) * count).reshape(len(index), count).astype(np.float64)


def bootstrap_means(losses: np.ndarray, days: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap means (SAMPLES,): of whole days where there are enough of them, since the hours of a day belong together.

    Means of k drawn days vary by (k - 1) / k of what means of k days do, which matters for few days; the deviations are
    stretched by as much (Efron and Tibshirani 1993, section 6.5 on small samples).
    """
    labels, inverse = np.unique(days, return_inverse=True)
    if len(labels) < LEAST_DAYS:
        return losses[rng.integers(0, len(losses), (SAMPLES, len(losses)))].mean(axis=1)
    sums, counts = np.bincount(inverse, weights=losses), np.bincount(inverse)
    drawn = rng.integers(0, len(labels), (SAMPLES, len(labels)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    middle, days_there = sums.sum() / counts.sum(), len(labels)
    return middle + (means - middle) * np.sqrt(days_there / (days_there - 1))
