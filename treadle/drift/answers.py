"""Prediction drift and target drift: do the model's answers, or the truth, have another distribution than at training?"""

from __future__ import annotations

import numpy as np

from treadle.drift.blocks import Layout
from treadle.drift.comparison import Comparison, Counted
from treadle.drift.inputs import chosen_cells, compare_categories, compare_numbers, thinned
from treadle.drift.records import Reference, Window

MOST_CLASSES = 10  # of an answer, the most frequent ones
LEAST_TARGETS = 30


def compare_predictions(reference: Reference, window: Window) -> list[Comparison]:
    """The answers against those to rows that the model had not seen at training; one comparison a class."""
    if reference.answers is None or window.answers is None or not len(reference.answers):
        return []
    before = _columns(reference.answers)
    now = _columns(window.answers)[thinned(len(window.answers))]
    if before.shape[1] != now.shape[1]:
        return []
    classes = np.argsort(-np.nanmean(before, axis=0))[:MOST_CLASSES] if before.shape[1] > 2 else [before.shape[1] - 1]
    layout = Layout.of(len(before), len(window.answers), timed=reference.timed)
    found = (compare_numbers("prediction", "prediction", before[:, i], now[:, i], layout) for i in classes)
    return [comparison for comparison in found if comparison is not None]


def compare_targets(reference: Reference, window: Window, *, classes: bool) -> list[Comparison]:
    """The labels that have come back against the targets of the training rows.

    Args:
        reference: What was normal.
        window: The newest predictions and their labels.
        classes: Whether targets are indexes into classes, or numbers.
    """
    before, now = reference.targets, window.targets
    if before is None or now is None or len(now) < LEAST_TARGETS or not len(before):
        return []
    layout = Layout.of(len(before), len(now), timed=reference.timed)
    if classes:
        old, new = (values.astype(np.int64) + 1 for values in (before, now))
        counted = Counted.of(*chosen_cells(old, new, int(old.max()), layout))
        return list(compare_categories("target", "target", counted))
    found = compare_numbers("target", "target", _columns(before)[:, 0], _columns(now)[:, 0], layout)
    return [] if found is None else [found]


def _columns(answers: np.ndarray) -> np.ndarray:
    columns = (answers[:, None] if answers.ndim == 1 else answers).astype(np.float64)
    return np.where(np.isfinite(columns), columns, np.nan)
