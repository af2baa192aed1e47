"""Prediction drift and target drift: do the model's answers, or the truth, have another distribution than at training?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from treadle.drift.blocks import Layout
from treadle.drift.cells import Categories
from treadle.drift.comparison import Comparison, Counted
from treadle.drift.inputs import chosen_cells, compare_categories, compare_numbers, thinned
from treadle.drift.records import Reference, Window
from treadle.drift.words import say_numbers, say_share
from treadle.wording import quoted

MOST_CLASSES = 10  # of an answer, the most frequent ones
LEAST_TARGETS = 30


def compare_predictions(reference: Reference, window: Window, classes: Sequence[str] | None = None) -> list[Comparison]:
    """The answers against those to rows that the model had not seen at training; one comparison a class.

    Args:
        reference: What was normal.
        window: The newest predictions.
        classes: What each column of the answers is the probability of; `None` where answers are numbers.
    """
    if reference.answers is None or window.answers is None or not len(reference.answers):
        return []
    before = _columns(reference.answers)
    now = _columns(window.answers)[thinned(len(window.answers))]
    if before.shape[1] != now.shape[1]:
        return []
    compared = np.argsort(-np.nanmean(before, axis=0))[:MOST_CLASSES] if before.shape[1] > 2 else [before.shape[1] - 1]
    layout = Layout.of(len(before), len(window.answers), timed=reference.timed)
    found = (
        compare_numbers("prediction", "prediction", before[:, i], now[:, i], layout, _words_of(classes, int(i)))
        for i in compared
    )
    return [comparison for comparison in found if comparison is not None]


def _words_of(classes: Sequence[str] | None, i: int) -> Callable[[np.ndarray, np.ndarray], str]:
    if classes is None:
        return partial(say_numbers, "what the model answers")
    return partial(say_share, f"the probability of {quoted(classes[i])} that the model answers")


def compare_targets(reference: Reference, window: Window, classes: Sequence[str] | None = None) -> list[Comparison]:
    """The labels that have come back against the targets of the training rows.

    Args:
        reference: What was normal.
        window: The newest predictions and their labels.
        classes: What targets are indexes into; `None` where they are numbers.
    """
    before, now = reference.targets, window.targets
    if before is None or now is None or len(now) < LEAST_TARGETS or not len(before):
        return []
    layout = Layout.of(len(before), len(now), timed=reference.timed)
    if classes is not None:
        old, new = (values.astype(np.int64) + 1 for values in (before, now))
        labels = Categories(old, new, int(old.max()), np.array(classes, dtype=object))
        return list(compare_categories("target", "target", Counted.of(*chosen_cells(labels, layout))))
    say = partial(say_numbers, "what the labels say")
    found = compare_numbers("target", "target", _columns(before)[:, 0], _columns(now)[:, 0], layout, say)
    return [] if found is None else [found]


def _columns(answers: np.ndarray) -> np.ndarray:
    columns = (answers[:, None] if answers.ndim == 1 else answers).astype(np.float64)
    return np.where(np.isfinite(columns), columns, np.nan)
