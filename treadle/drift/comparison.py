"""One comparison of a window with its reference: how far apart, and how far a quiet window may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import root_scalar

from treadle.drift.blocks import Layout, Usual, usual
from treadle.drift.bounds import Array, ordered_chance, total_variation_noise, unordered_chance
from treadle.drift.cells import Cells
from treadle.drift.records import Kind

LEAST_DISTANCE = 0.1  # what is nearer does not matter, however certain: a normal column moved by a quarter sigma
NEVER = 1e-300  # a probability whose logarithm can still be taken


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
        chance: The probability of a distance of two samples of so many independent rows, or of a larger one.
        among: How many of its like share one comparison's level, and would have been told of instead had they moved more.
        rivals: Those of them that a block of the reference could call moved.
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
    chance: Callable[[Array, Array, Array], Array]
    among: int = 1
    rivals: tuple[Comparison, ...] = ()

    def probability(self, distance: float) -> float:
        """That a quiet window is so far away or farther, at most; of itself and all its like."""
        n, m = max(self.rows, 1) / self.usual.inflation, max(self.normal_rows, 1) / self.usual.inflation
        return self.among * float(self.chance(distance, n, m))

    def exceeds(self, level: float) -> bool:
        """Whether it is farther than what matters, than what blocks are, and than chance is with probability `level`."""
        return self.statistic > self._floor and self.probability(self.statistic) < level

    def threshold(self, level: float) -> float:
        """What a quiet window exceeds with probability `level` at most; never below what matters."""

        def surplus(distance: float) -> float:
            return float(np.log(max(self.probability(distance), NEVER) / level))

        if self._floor >= 1 or surplus(1.0) > 0:
            return 1.0
        if surplus(self._floor) <= 0:
            return self._floor
        return float(root_scalar(surplus, bracket=(self._floor, 1.0), xtol=1e-6).root)

    @property
    def _floor(self) -> float:
        return max(self.least, self.usual.worst)

    def false_alarms(self, level: float) -> np.ndarray:
        """Which blocks of the reference (blocks,) this, or a rival, would call moved, had it never seen them."""
        far, inflation = self.usual.distances, self.usual.inflation_without
        n, m = (np.maximum(rows, 1) / inflation for rows in (self.usual.rows, self.normal_rows - self.usual.rows))
        moved = (far > np.maximum(self.least, self.usual.worst_without)) & (self.among * self.chance(far, n, m) < level)
        return np.any([moved, *(rival.false_alarms(level) for rival in self.rivals)], axis=0)


@dataclass(frozen=True)
class Counted:
    """The values of both tables that are there, counted by cell; cell 0, what is missing, is left out.

    Attributes:
        layout: The blocks of the reference.
        ordered: Whether the order of the cells means something.
        chunks: Of each chunk of the reference (chunks, cells).
        normal: Of the reference (cells,).
        current: Of the window (cells,).
        blocks: Of each block of the reference (blocks, cells).
        names: Of the first cells, see `Cells.names`.
    """

    layout: Layout
    ordered: bool
    chunks: np.ndarray
    normal: np.ndarray
    current: np.ndarray
    blocks: np.ndarray
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, cells: Cells, layout: Layout) -> Counted:
        """Count once what several comparisons need."""
        chunks = layout.counts(cells.normal, cells.size)[:, 1:]
        current = np.bincount(cells.current, minlength=cells.size)[1:].astype(np.float64)
        blocks = layout.sums(chunks, layout.length)
        return cls(layout, cells.ordered, chunks, chunks.sum(axis=0), current, blocks, cells.names)

    def name(self, cell: int) -> str | None:
        """What a cell's category is called; `None` where that is not told."""
        return self.names[cell] if self.names is not None and cell < len(self.names) else None

    @property
    def has_both(self) -> bool:
        """Whether each side has a value."""
        return bool(self.normal.any() and self.current.any())

    @property
    def rows(self) -> tuple[int, int]:
        """Values of the window, and of the reference."""
        return int(self.current.sum()), int(self.normal.sum())


def compare_values(kind: Kind, name: str, counted: Counted, effect: float, said: str) -> Comparison | None:
    """Compare what is there: Kolmogorov-Smirnov distance of ordered cells, total variation of others.

    Returns:
        `None` if one side has no value at all.
    """
    if not counted.has_both:
        return None
    before, now, ordered = counted.normal, counted.current, counted.ordered
    far = distances(counted.blocks, before - counted.blocks, ordered=ordered)
    if ordered:
        chance: Callable[[Array, Array, Array], Array] = ordered_chance
    else:
        noise = total_variation_noise(before / before.sum())
        chance = partial(unordered_chance, noise=noise, cells=len(before))
    statistic = float(distances(now[None], before[None], ordered=ordered)[0])
    found = usual(counted.layout, counted.chunks, far, ordered=ordered)
    return Comparison(kind, name, statistic, effect, said, LEAST_DISTANCE, *counted.rows, found, chance)


def distances(a: np.ndarray, b: np.ndarray, *, ordered: bool) -> np.ndarray:
    """How far counts (k, cells) are apart, row by row, 0 to 1 (k,); 0 where one of them is empty."""
    gap = gaps(a, b)
    return np.abs(np.cumsum(gap, axis=1)).max(axis=1) if ordered else np.abs(gap).sum(axis=1) / 2


def gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shares of counts `a` less those of `b`, row by row (k, cells); 0 where one of the two rows is empty."""
    rows_a, rows_b = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    return np.where((rows_a > 0) & (rows_b > 0), a / np.maximum(rows_a, 1) - b / np.maximum(rows_b, 1), 0.0)
