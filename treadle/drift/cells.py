"""Values as codes of a few cells, made from the reference alone: all distances are then differences of counts.

Cell 0 is "missing". Numbers fall between the quantiles of the reference; the most frequent categories have a cell
each; rare ones and those that the reference never saw share the last, since a rare one of the reference is a new one to others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

QUANTILES = 31
FREQUENT = 24  # categories with a cell of their own
LEAST_COUNT = 5  # of a category in the reference, to have a cell of its own


@dataclass(frozen=True)
class Cells:
    """One column of both tables as codes.

    Attributes:
        normal: Codes of the reference (n,).
        current: Codes of the window (m,).
        size: Number of cells.
        ordered: Whether the order of the cells means something.
        names: Of the categories with a cell of their own, from cell 1 on; `None` where they are not told.
    """

    normal: np.ndarray
    current: np.ndarray
    size: int
    ordered: bool
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Categories:
    """One column of both tables as numbers.

    Attributes:
        normal: Of the reference (n,): 0 for missing, else 1 to `known`.
        current: Of the window (m,); above `known` for those that the reference never saw.
        known: How many different ones the reference has.
        names: What the numbers from 1 on stand for (numbers,); `None` where that is not told.
    """

    normal: np.ndarray
    current: np.ndarray
    known: int
    names: np.ndarray | None = None

    def named(self, numbers: np.ndarray) -> tuple[str, ...] | None:
        """What some numbers (k,) stand for."""
        return None if self.names is None else tuple(str(name) for name in self.names[numbers - 1])


def number_cells(normal: np.ndarray, current: np.ndarray) -> Cells:
    """Numbers (n,) and (m,) by quantiles of the first; a value that is itself a quantile has a cell of its own.

    >>> number_cells(np.array([1.0, 1.0, np.nan]), np.array([0.0, 1.0, 2.0])).current
    array([1, 2, 3])
    """
    known = normal[~np.isnan(normal)]
    steps = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
    edges = np.unique(np.quantile(known, steps, method="lower")) if len(known) else np.zeros(1)
    return Cells(_between(normal, edges), _between(current, edges), 2 * len(edges) + 2, ordered=True)


def _between(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    below = np.searchsorted(edges, values, side="left") + 1
    on = edges[np.minimum(below - 1, len(edges) - 1)] == values
    return np.where(np.isnan(values), 0, 2 * below - 1 + on)


def frequent(normal: np.ndarray, known: int) -> np.ndarray:
    """The categories to have a cell of their own, most frequent first, of category numbers (n,) from 1 to `known`."""
    counts = np.bincount(normal, minlength=known + 1)[1:]
    order = np.argsort(-counts, kind="stable") + 1
    return order[: min(FREQUENT, int((counts >= LEAST_COUNT).sum()))]


def category_cells(categories: Categories, own: np.ndarray, compared: np.ndarray | None = None) -> Cells:
    """Categories as cells.

    Args:
        categories: Of both tables.
        own: Numbers of those with a cell of their own, see `frequent`.
        compared: Which rows of the reference are compared, a mask (n,); all, when left out.
    """
    known = categories.known
    cell = np.full(known + 2, len(own) + 1)
    cell[0] = 0
    cell[own] = np.arange(1, len(own) + 1)
    normal = categories.normal if compared is None else categories.normal[compared]
    current = np.minimum(categories.current, known + 1)
    return Cells(cell[normal], cell[current], len(own) + 2, ordered=False, names=categories.named(own))


def category_numbers(normal: pd.Series, current: pd.Series, *, told: bool = True) -> Categories:
    """The categories of a column as numbers, those of the reference first; `told` if their names may be."""
    texts = pd.concat([normal.astype("str"), current.astype("str")], ignore_index=True)
    codes, names = pd.factorize(texts.mask(texts == ""), use_na_sentinel=True)
    codes = codes + 1
    before, now = codes[: len(normal)], codes[len(normal) :]
    return Categories(before, now, int(before.max(initial=0)), np.asarray(names, dtype=object) if told else None)


def as_numbers(values: pd.Series) -> np.ndarray:
    """A column of numbers as float64 (n,), NaN where missing."""
    return values.to_numpy(dtype=np.float64, na_value=np.nan)
