"""Inputs: have values, missing ones or categories of a column moved? And embeddings, by what they are near to."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from treadle.drift.blocks import Layout
from treadle.drift.cells import Categories, Cells, as_numbers, category_cells, category_numbers, frequent, number_cells
from treadle.drift.comparison import Comparison, Counted, compare_values
from treadle.drift.embeddings import landmarks
from treadle.drift.records import Kind, Reference, Window
from treadle.drift.shares import compare_cells, compare_missing, compare_new, compare_vanished, tell_strangers
from treadle.drift.words import deviations, say_numbers, say_scores, say_truth
from treadle.tables.schema import Column

FEWEST_DRAWING = 2  # rows that can draw a map of embeddings
MOST_ROWS = 20_000  # of a window; more say nothing new: chance is then 0.01, and what matters is 0.1


def thinned(rows: int) -> np.ndarray:
    """Positions (n,) of the rows of a window that are looked at: all, or `MOST_ROWS` evenly spread ones."""
    return np.arange(rows) if rows <= MOST_ROWS else np.linspace(0, rows - 1, MOST_ROWS).astype(np.int64)


def compare_inputs(
    reference: Reference, window: Window, columns: Sequence[Column], untold: Container[str] = ()
) -> list[Comparison]:
    """All comparisons of one window's inputs.

    Args:
        reference: What was normal.
        window: Checked: it has every column, in the right type.
        columns: Those to compare; times are left out, since they move by nature.
        untold: Columns of which no value may be told.
    """
    layout = Layout.of(len(reference.rows), len(window.rows), timed=reference.timed)
    some = thinned(len(window.rows))
    rows = window.rows.iloc[some]
    compared: list[Comparison] = []
    for column in columns:
        told = column.name not in untold
        if column.kind in ("number", "integer", "boolean"):
            compared += _number(column, reference.rows[column.name], rows[column.name], layout, told=told)
        elif column.kind != "datetime":
            compared += _category(column.name, reference.rows[column.name], rows[column.name], layout, told=told)
    for name, matrix in reference.matrices.items():
        compared += _matrix(name, matrix, window.matrices[name][some], timed=reference.timed)
    return compared


def _number(
    column: Column, normal: pd.Series, current: pd.Series, layout: Layout, *, told: bool
) -> Iterator[Comparison]:
    before, now = as_numbers(normal), as_numbers(current)
    values = compare_numbers("input", column.name, before, now, layout, _words_of(column, told=told))
    if values is not None:
        yield values
    yield compare_missing(column.name, np.isnan(before), np.isnan(now), layout)


def _words_of(column: Column, *, told: bool) -> Callable[[np.ndarray, np.ndarray], str]:
    if not told:
        return partial(say_scores, f"'{column.name}'")
    if column.kind == "boolean":
        return partial(say_truth, column.name, (column.tokens or ("false", "true"))[1])
    return partial(say_numbers, f"'{column.name}'")


def compare_numbers(
    kind: Kind, name: str, before: np.ndarray, now: np.ndarray, layout: Layout,
    say: Callable[[np.ndarray, np.ndarray], str],
) -> Comparison | None:  # fmt: skip
    """Compare numbers (n,) and (m,); `None` if one side has none. `say` puts both into words."""
    if np.isnan(before).all() or np.isnan(now).all():
        return None
    counted = Counted.of(number_cells(before, now), layout)
    return compare_values(kind, name, counted, deviations(before, now), say(before, now))


def _category(name: str, normal: pd.Series, current: pd.Series, layout: Layout, *, told: bool) -> Iterator[Comparison]:
    categories = category_numbers(normal, current, told=told)
    counted = Counted.of(*chosen_cells(categories, layout))
    new = compare_new(name, categories, layout)
    yield from compare_categories("input", name, counted, tell_strangers(new, counted))
    yield compare_missing(name, categories.normal == 0, categories.current == 0, layout)
    yield new
    yield compare_vanished(name, counted)


def chosen_cells(categories: Categories, layout: Layout) -> tuple[Cells, Layout]:
    """Categories as cells, and the blocks of the rows that are compared.

    All rows of the reference where each of its categories has a cell; else a third chooses the frequent ones, and the
    others are compared: the most frequent of any sample are less frequent elsewhere.
    """
    own = frequent(categories.normal, categories.known)
    if len(own) == categories.known:
        return category_cells(categories, own), layout
    choosing, blocks = layout.parted()
    return category_cells(categories, frequent(categories.normal[choosing], categories.known), ~choosing), blocks


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
        found = compare_numbers(
            "input", name, before.numbers[:, i], now.numbers[:, i], layout, partial(say_scores, f"'{name}'")
        )
        if found is not None:
            yield found
    groups = tuple(f"group {i + 1} of similar rows" for i in range(before.centres))
    cells = Cells(before.nearest, now.nearest, before.centres + 1, ordered=False, names=groups)
    yield from compare_categories("input", name, Counted.of(cells, layout))
