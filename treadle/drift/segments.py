"""Segment drift: a slice of the rows on which the loss has grown, while the mean over all may hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from treadle.drift.family import CERTAIN
from treadle.drift.quality import Null
from treadle.drift.records import Finding, Reference, Window
from treadle.learning.slices import parts
from treadle.tables.schema import Column

FALSE_ALARM = 0.004  # over all slices together
SURELY = 0.01  # how often a slice's own days may deceive
LEAST_ROWS = 30  # of a slice, on both sides
LEAST_UNITS = 4  # days of the window that a slice must lie on, since one cold night is no slice gone bad
LEAST_RATIO = 1.25
LARGE_RATIO = 2.0  # so much is believed at one look, less when labels that are new confirm it
MOST_VALUES = 40  # of a category, to be sliced by
MOST_SLICES = 400


def compare_slices(reference: Reference, window: Window, columns: Sequence[Column], null: Null) -> list[Finding]:
    """Every slice that has enough rows, with the ratio of its losses; empty if the rows behind the losses are not known.

    The threshold holds for the farthest of all slices, by the same drawn windows for all (the max-T of P. Westfall and
    S. Young, Resampling-Based Multiple Testing, 1993), so slices that overlap do not count as so many chances.
    """
    if reference.judged is None or window.labelled is None:
        return []
    names, before, now = _slices(reference.judged, window.labelled, columns)
    if not names:
        return []
    normal, current = _mean(reference.losses, before), _mean(window.losses, now)
    ratio = current / np.maximum(normal, 1e-12)
    drawn = np.log(np.maximum(null.ratios(reference.losses[:, None] * before, before), 1e-3))  # (samples, slices)
    spread = np.maximum(drawn.std(axis=0), 1e-9)
    farthest = (drawn / spread).max(axis=1)
    allowed, certain = (
        np.maximum(least, np.exp(spread * np.quantile(farthest, 1 - level)))
        for least, level in ((LEAST_RATIO, FALSE_ALARM), (LARGE_RATIO, FALSE_ALARM * CERTAIN))
    )
    units = np.unique(window.loss_days, return_inverse=True)[1] if reference.timed else np.arange(len(window.losses))
    surely = _least(window.losses, now, units) > normal  # by its own days too: one absurd row or night is no slice
    return [
        Finding(
            "segment", name, round(float(ratio[i]), 4), round(float(allowed[i]), 4), round(float(ratio[i]), 4),
            drifted=bool(ratio[i] > allowed[i] and surely[i]), certain=bool(ratio[i] > certain[i] and surely[i]),
            said=f"the loss where {name} is {ratio[i]:.2f} times what was normal",
        )
        for i, name in enumerate(names)
    ]  # fmt: skip


def _slices(
    normal: pd.DataFrame, current: pd.DataFrame, columns: Sequence[Column]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the slices, and which rows are in them: (m, slices) and (k, slices)."""
    names: list[str] = []
    masks: list[np.ndarray] = []
    for column in columns:
        if column.kind == "datetime" or (normal[column.name].nunique() > MOST_VALUES and column.kind == "category"):
            continue
        both = pd.concat([normal[column.name], current[column.name]], ignore_index=True)
        for name, mask in parts(both, column):
            if min(mask[: len(normal)].sum(), mask[len(normal) :].sum()) >= LEAST_ROWS:
                names.append(name)
                masks.append(mask)
    if not names:
        return [], np.empty((0, 0)), np.empty((0, 0))
    both = np.column_stack(masks[:MOST_SLICES]).astype(np.float64)
    return names[:MOST_SLICES], both[: len(normal)], both[len(normal) :]


def _mean(losses: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return (losses @ inside) / np.maximum(inside.sum(axis=0), 1)


def _least(losses: np.ndarray, inside: np.ndarray, units: np.ndarray) -> np.ndarray:
    """What the slices' means surely exceed, (slices,); minus infinity where too few days, or rows, tell.

    Rows of one day belong together: the error of a mean is that of sums by day (the linearization of W. Cochran,
    Sampling Techniques, 1977, section 6.4), and Student's t knows how few the days are.
    """
    mean = _mean(losses, inside)
    off = (losses[:, None] - mean) * inside
    sums, rows = (np.zeros((int(units.max()) + 1, inside.shape[1])) for _ in range(2))
    np.add.at(sums, units, off)
    np.add.at(rows, units, inside)
    there = (rows > 0).sum(axis=0)
    stretched = there / np.maximum(there - 1, 1)
    error = np.sqrt((sums**2).sum(axis=0) * stretched) / np.maximum(inside.sum(axis=0), 1)
    surely = mean - student.isf(SURELY, np.maximum(there - 1, 1)) * error
    return np.where(there >= LEAST_UNITS, surely, -np.inf)
