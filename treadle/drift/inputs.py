"""Inputs: have values, missing ones or categories of a column moved? And embeddings, by what they are near to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from treadle.drift.blocks import Layout
from treadle.drift.cells import Cells, as_numbers, category_cells, category_numbers, frequent, number_cells
from treadle.drift.comparison import Comparison, Counted, compare_values
from treadle.drift.embeddings import landmarks
from treadle.drift.records import Kind, Reference, Window
from treadle.drift.shares import compare_cells, compare_missing, compare_new, compare_vanished, tell_strangers
from treadle.tables.schema import Column

FEWEST_DRAWING = 2  # rows that can draw a map of embeddings
MOST_ROWS = 20_000  # of a window; more say nothing new: chance is then 0.01, and what matters is 0.1


def thinned(rows: int) -> np.ndarray:
    """Positions (n,) of the rows of a window that are looked at: all, or `MOST_ROWS` evenly spread ones."""
    return np.arange(rows) if rows <= MOST_ROWS else np.linspace(0, rows - 1, MOST_ROWS).astype(np.int64)


def compare_inputs(reference: Reference, window: Window, columns: Sequence[Column]) -> list[Comparison]:
    """All comparisons of one window's inputs.

    Args:
        reference: What was normal.
        window: Checked: it has every column, in the right type.
        columns: Those to compare; times are left out, since they move by nature.
    """
    layout = Layout.of(len(reference.rows), len(window.rows), timed=reference.timed)
    some = thinned(len(window.rows))
    rows = window.rows.iloc[some]
    compared: list[Comparison] = []
    for column in columns:
        if column.kind in ("number", "integer", "boolean"):
            compared += _number(column.name, reference.rows[column.name], rows[column.name], layout)
        elif column.kind != "datetime":
            compared += _category(column.name, reference.rows[column.name], rows[column.name], layout)
    for name, matrix in reference.matrices.items():
        compared += _matrix(name, matrix, window.matrices[name][some], timed=reference.timed)
    return compared


def _number(name: str, normal: pd.Series, current: pd.Series, layout: Layout) -> Iterator[Comparison]:
    before, now = as_numbers(normal), as_numbers(current)
    values = compare_numbers("input", name, before, now, layout)
    if values is not None:
        yield values
    yield compare_missing(name, np.isnan(before), np.isnan(now), layout)


def compare_numbers(kind: Kind, name: str, before: np.ndarray, now: np.ndarray, layout: Layout) -> Comparison | None:
    """Compare numbers (n,) and (m,); `None` if one side has none."""
    if np.isnan(before).all() or np.isnan(now).all():
        return None
    spread = float(np.nanstd(before)) or 1.0
    moved = float(np.nanmean(now) - np.nanmean(before)) / spread
    said = f"'{name}' moved by {moved:+.2f} standard deviations on average"
    if abs(moved) < 0.1:
        wider = float(np.nanstd(now)) / spread
        said = f"'{name}' is distributed otherwise, {wider:.2f} times as wide, about the same mean"
    return compare_values(kind, name, Counted.of(number_cells(before, now), layout), moved, said)


def _category(name: str, normal: pd.Series, current: pd.Series, layout: Layout) -> Iterator[Comparison]:
    before, now, known = category_numbers(normal, current)
    counted = Counted.of(*chosen_cells(before, now, known, layout))
    new = compare_new(name, before, now, known, layout)
    yield from compare_categories("input", name, counted, tell_strangers(new, counted))
    yield compare_missing(name, before == 0, now == 0, layout)
    yield new
    yield compare_vanished(name, counted)


def chosen_cells(before: np.ndarray, now: np.ndarray, known: int, layout: Layout) -> tuple[Cells, Layout]:
    """Category numbers (n,) and (m,), see `cells.category_numbers`, as cells, and the blocks of those compared.

    All rows of the reference where each of its categories has a cell; else a third chooses the frequent ones, and the
    others are compared: the most frequent of any sample are less frequent elsewhere.
    """
    own = frequent(before, known)
    if len(own) == known:
        return category_cells(before, now, known, own), layout
    choosing, blocks = layout.parted()
    return category_cells(before[~choosing], now, known, frequent(before[choosing], known)), blocks


def compare_categories(kind: Kind, name: str, counted: Counted, strangers: str | None = None) -> Iterator[Comparison]:
    """Compare categories, all together and one by one; nothing if one side has none. `strangers`: see `compare_cells`."""
    single = compare_cells(kind, name, counted, strangers)
    if single is None:
        return
    together = compare_values(kind, name, counted, single.effect, single.said)
    yield from (single, together) if together is not None else (single,)


def _matrix(name: str, normal: np.ndarray, current: np.ndarray, *, timed: bool) -> Iterator[Comparison]:
    """An embedding's comparisons: each of its scores is a column of numbers."""
    choosing, layout = Layout.of(len(normal), len(current), timed=timed).parted()
    if choosing.sum() < FEWEST_DRAWING:
        return
    before, now = landmarks(normal[choosing], normal[~choosing], current)
    for i in range(before.numbers.shape[1]):
        found = compare_numbers("input", name, before.numbers[:, i], now.numbers[:, i], layout)
        if found is not None:
            yield found
    cells = Cells(before.nearest, now.nearest, before.centres + 1, ordered=False)
    yield from compare_categories("input", name, Counted.of(cells, layout))
