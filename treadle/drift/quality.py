"""Concept drift: is the loss on labelled rows higher than it was normal at training?

Two questions must both say yes. Would as many days of the reference have so high a mean? And is the window's own mean
surely above, by its own days? The first knows how days differ even where the window has but one of them; the second
knows what the reference may have never seen.
"""

from __future__ import annotations

import numpy as np

from treadle.drift.records import Quality, Reference, Window

FALSE_ALARM = 0.0125
OWN_FALSE_ALARM = 0.02
LEAST_LOSS = 0.05  # a mean loss must grow by more than this share
LEAST_DAYS = 4  # of which a window's own variation can be told
LEAST_UNITS = 8
UNITS = 20  # parts of a reference that covers fewer days
DRAWS = 2000
SAMPLES = 4000


def compare_losses(reference: Reference, window: Window, null: Null, seed: int) -> Quality:
    """The ratio of mean losses, with the lower bound of it that chance leaves standing."""
    old, new = float(reference.losses.mean()), float(window.losses.mean())
    ratio = new / max(old, 1e-12)
    lower = ratio / max(float(np.quantile(null.ratios(reference.losses[:, None])[:, 0], 1 - FALSE_ALARM)), 1e-12)
    if len(np.unique(window.loss_days)) >= LEAST_DAYS or not reference.timed:
        rng = np.random.default_rng(seed)
        before = bootstrap_means(reference.losses, reference.loss_days, rng)
        now = bootstrap_means(window.losses, window.loss_days, rng)
        lower = min(lower, float(np.quantile(now / np.maximum(before, 1e-12), OWN_FALSE_ALARM)))
    return Quality(old, new, ratio, lower, len(window.losses))


def is_lost(quality: Quality) -> bool:
    """Whether the loss grew, surely and by what matters."""
    return quality.lower > 1.0 and quality.ratio > 1 + LEAST_LOSS


class Null:
    """What windows would be if nothing had changed: as many days, with as many rows each, drawn from the reference.

    Days are drawn in runs, since one day resembles the next (H. Künsch, The jackknife and the bootstrap for general
    stationary observations, 1989), of about the cube root of their number (P. Hall, J. Horowitz and B. Jing 1995).
    Where there are no days rows are drawn.
    """

    def __init__(self, reference: Reference, window: Window, seed: int) -> None:
        losses, days = window.losses, window.loss_days
        rng = np.random.default_rng(seed)
        units = _units(reference.loss_days) if reference.timed else None
        if units is None:
            rows = len(reference.losses)
            self.window = _counts(rng.integers(0, rows, (DRAWS, min(len(losses), rows))), rows)
            self.reference = _counts(rng.integers(0, rows, (DRAWS, rows)), rows)
            return
        begins, sizes = units
        spans = len(np.unique(days)) if len(begins) == len(np.unique(reference.loss_days)) else 0
        spans = spans or max(1, round(len(losses) / float(sizes.mean())))
        each = max(1, -(-len(losses) // spans))
        self.window = _counts(_draw(begins, sizes, spans, each, rng), int(sizes.sum()))
        self.reference = _counts(_draw(begins, sizes, len(sizes), int(sizes.max()), rng), int(sizes.sum()))

    def ratios(self, values: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
        """Ratios of the means of drawn windows and drawn references, (samples, k).

        Args:
            values: Losses (m, 1), or zeroed outside of each part (m, k).
            parts: Which rows are in which part (m, k); all, when left out.
        """
        inside = (np.ones_like(values) if parts is None else parts).astype(np.float32)
        values = values.astype(np.float32)
        now = (self.window @ values) / np.maximum(self.window @ inside, 1e-6)
        before = (self.reference @ values) / np.maximum(self.reference @ inside, 1e-6)
        return now / np.maximum(before, 1e-12)


def _units(days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the reference's days begin and how many rows they have; equal parts of it where days are too few."""
    _, begins, sizes = np.unique(days, return_index=True, return_counts=True)
    if len(begins) >= LEAST_UNITS:
        return begins, sizes
    edges = np.unique(np.linspace(0, len(days), UNITS + 1).astype(np.int64))
    return edges[:-1], np.diff(edges)


def _draw(begins: np.ndarray, sizes: np.ndarray, spans: int, each: int, rng: np.random.Generator) -> np.ndarray:
    """Row indexes (samples, about spans * each) of drawn days; -1 where a day has fewer rows than that."""
    count = len(begins)
    run = max(1, min(spans, round(count ** (1 / 3))))
    runs = -(-spans // run)
    first = rng.integers(0, count, (DRAWS, runs, 1))
    day = ((first + np.arange(run)) % count).reshape(DRAWS, -1)[:, :spans, None]  # (samples, spans, 1)
    rows = np.arange(min(each, int(sizes.max())))
    start = (rng.random(day.shape) * sizes[day]).astype(np.int64)
    index = begins[day] + (start + rows) % sizes[day]
    return np.where(rows < sizes[day], index, -1).reshape(DRAWS, -1)


def _counts(index: np.ndarray, rows: int) -> np.ndarray:
    """How often each sample drew each row, (samples, rows) float32; -1 is none."""
    flat = np.arange(len(index))[:, None] * (rows + 1) + index + 1
    counts = np.bincount(flat.ravel(), minlength=len(index) * (rows + 1)).reshape(len(index), rows + 1)
    return counts[:, 1:].astype(np.float32)


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
