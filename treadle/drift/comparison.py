"""One comparison of a window with its reference: how far apart, and how far a quiet window may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from treadle.drift.blocks import Layout, Usual, usual
from treadle.drift.bounds import (
    Array,
    ordered_bound,
    share_bound,
    share_fall_bound,
    total_variation_noise,
    unordered_bound,
)
from treadle.drift.cells import Cells
from treadle.drift.records import Kind

LEAST_DISTANCE = 0.1  # what is nearer does not matter, however certain: a normal column moved by a quarter sigma
LEAST_SHARE = 0.05  # of rows that must be newly missing, of a new category, or of one that is gone


@dataclass(frozen=True)
class Comparison:
    """A distance with all that its threshold is made of.

    Attributes:
        statistic: The distance, 0 to 1.
        effect: The same in a unit that people know.
        said: What was seen, in plain words.
        least: A distance that does not matter.
        rows: Rows of the window that say something.
        usual: How far blocks of the reference are from the rest.
        chance: The bound of independent rows, of a level and a spread.
    """

    kind: Kind
    name: str
    statistic: float
    effect: float
    said: str
    least: float
    rows: int
    normal_rows: int
    usual: Usual
    chance: Callable[[float, Array], Array]

    def threshold(self, level: float) -> float:
        """What a quiet window exceeds with probability `level` at most; never below what matters."""
        spread = self.usual.inflation * (1 / max(self.rows, 1) + 1 / max(self.normal_rows, 1))
        return float(min(1.0, max(self.least, self.chance(level, spread), self.usual.worst)))

    def false_alarms(self, level: float) -> np.ndarray:
        """Which blocks of the reference (blocks,) this would call moved, had it never seen them."""
        layout = self.usual.layout
        spread = self.usual.inflation_without * (1 / layout.size + 1 / max(layout.rows - layout.size, 1.0))
        allowed = np.maximum(np.maximum(self.least, self.chance(level, spread)), self.usual.worst_without)
        return self.usual.distances > np.minimum(allowed, 1.0)


def compare_values(kind: Kind, name: str, cells: Cells, layout: Layout, effect: float, said: str) -> Comparison | None:
    """Compare what is there: Kolmogorov-Smirnov distance of ordered cells, total variation of others.

    Returns:
        `None` if one side has no value at all.
    """
    counts = layout.counts(cells.normal, cells.size)[:, 1:]
    before, now = counts.sum(axis=0), np.bincount(cells.current, minlength=cells.size)[1:].astype(np.float64)
    if not before.sum() or not now.sum():
        return None
    share = before / before.sum()
    part = layout.sums(counts, layout.length)  # (blocks, cells)
    distances = _distances(part, before - part, ordered=cells.ordered)
    if cells.ordered:
        chance: Callable[[float, Array], Array] = ordered_bound
    else:
        chance = partial(unordered_bound, noise=total_variation_noise(share))
    statistic = float(_distances(now[None], before[None], ordered=cells.ordered)[0])
    found = usual(layout, counts, distances, ordered=cells.ordered)
    rows = int(now.sum()), int(before.sum())
    return Comparison(kind, name, statistic, effect, said, LEAST_DISTANCE, *rows, found, chance)


def _distances(a: np.ndarray, b: np.ndarray, *, ordered: bool) -> np.ndarray:
    """How far counts (k, cells) are apart, row by row, 0 to 1 (k,); 0 where one of them is empty."""
    rows_a, rows_b = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    gap = a / np.maximum(rows_a, 1) - b / np.maximum(rows_b, 1)
    far = np.abs(np.cumsum(gap, axis=1)).max(axis=1) if ordered else np.abs(gap).sum(axis=1) / 2
    return np.where((rows_a > 0).ravel() & (rows_b > 0).ravel(), far, 0.0)


def compare_missing(name: str, cells: Cells, layout: Layout) -> Comparison:
    """Compare the shares of missing values."""
    gone = np.column_stack([cells.normal == 0, cells.normal != 0])
    counts = np.add.reduceat(gone.astype(np.float64), layout.edges[:-1], axis=0)
    part = layout.sums(counts, layout.length)
    before, now = float((cells.normal == 0).mean()), float((cells.current == 0).mean())
    distances = _distances(part, counts.sum(axis=0) - part, ordered=False)

    def chance(level: float, spread: Array) -> Array:
        return np.maximum(share_bound(level / 2, spread, before), share_fall_bound(level / 2, spread, before))

    return Comparison(
        "missing", name, abs(now - before), now - before, f"{now:.1%} of '{name}' is missing, {before:.1%} was normal",
        LEAST_SHARE, len(cells.current), len(cells.normal), usual(layout, counts, distances, ordered=False), chance,
    )  # fmt: skip


def compare_new(name: str, normal: np.ndarray, current: np.ndarray, known: int, layout: Layout) -> Comparison:
    """Compare the share of rows whose category the reference never saw with how many such rows there always are.

    Args:
        name: The column.
        normal: Category numbers of the reference (n,), see `cells.category_numbers`.
        current: Of the window (m,).
        known: Different ones in the reference.
        layout: Blocks of the reference.

    Source: I. Good, The population frequencies of species (1953): the share of rows whose category occurs once.
    """
    counts = np.bincount(normal, minlength=known + 1)
    counts[0] = 0
    once = float((counts == 1).sum() / max(len(normal), 1))
    now = float((current > known).mean()) if len(current) else 0.0
    strangers = len(np.unique(current[current > known]))
    begin, end = layout.edges[: layout.chunks - layout.length + 1], layout.edges[layout.length :]
    at = np.arange(len(normal))
    first, last = np.full(known + 1, len(normal)), np.full(known + 1, -1)
    np.minimum.at(first, normal, at)
    np.maximum.at(last, normal, at)
    inside = (first >= begin[:, None]) & (last < end[:, None]) if layout.timed and known else None
    alone = inside @ counts / layout.size if inside is not None else np.full(len(begin), once)
    said = f"{strangers} categor{'y' if strangers == 1 else 'ies'} of '{name}' that training never saw: {now:.1%} of the rows"
    if now < once:
        said = f"{now:.1%} of the rows have a category of '{name}' that training never saw, {once:.1%} would be normal"

    def chance(level: float, spread: Array) -> Array:
        return np.maximum(share_bound(level / 2, spread, once), share_fall_bound(level / 2, spread, once))

    return Comparison(
        "categories", name, abs(now - once), now - once, said, LEAST_SHARE, len(current), len(normal),
        Usual(layout, np.abs(alone - once), 1.0, np.ones(len(begin))), chance,
    )  # fmt: skip


def compare_vanished(name: str, cells: Cells, layout: Layout) -> Comparison:
    """Compare the largest share of a category that is gone with the shares that blocks of the reference lack."""
    own = slice(1, max(1, cells.size - 1))
    counts = layout.counts(cells.normal, cells.size)[:, own]
    known = max(float((cells.normal > 0).sum()), 1.0)
    now = np.bincount(cells.current, minlength=cells.size)[own]
    share = counts.sum(axis=0) / known
    lost = float(share[now == 0].max(initial=0.0)) if now.sum() else 0.0
    part = layout.sums(counts, layout.length)
    distances = np.where(part == 0, share, 0.0).max(axis=1, initial=0.0)
    family = max(1, int((share > LEAST_SHARE).sum()))

    def chance(level: float, spread: Array) -> Array:
        return share_bound(level / family, spread, 0.0)

    return Comparison(
        "categories", name, lost, -lost, f"a category of '{name}' that was {lost:.1%} of the rows is gone",
        LEAST_SHARE, int((cells.current > 0).sum()), int(known), usual(layout, counts, distances, ordered=False), chance,
    )  # fmt: skip
