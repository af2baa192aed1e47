"""How much blocks of the reference differ from the rest of it, which is how much a quiet window may.

Rows that follow each other in time depend on each other, so a block of n of them says less than n independent rows.
How much less is the *inflation*: the mean squared distance of blocks from the whole, as a multiple of what independent
rows would have (the design effect of L. Kish, Survey Sampling, 1965; estimated by overlapping batch means, M. Meketon and
B. Schmeiser 1984). It is taken at several lengths, since short blocks are many and long ones see slow waves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CHUNKS = 256  # a block is a whole number of chunks
LEAST_BLOCKS = 3  # of a shorter reference a block is a third
CHOOSING = 3  # one in so many rows, or runs of rows, chooses by what the others are measured
LEAST_RUN = 16  # rows in time order that stay together, if the reference is long enough
LEAST_RUNS = 3 * CHOOSING


@dataclass(frozen=True)
class Layout:
    """The blocks of a reference: overlapping, each of `length` of its chunks.

    Attributes:
        rows: Rows of the reference.
        edges: Where chunks begin and end (chunks + 1,).
        length: Chunks of one block.
        timed: Whether rows may depend on each other.
    """

    rows: int
    edges: np.ndarray
    length: int
    timed: bool

    @classmethod
    def of(cls, rows: int, window: int, *, timed: bool) -> Layout:
        """Blocks as long as a window, or a third of the reference if that is shorter."""
        size = max(1, min(window, rows // LEAST_BLOCKS))
        chunk = max(1, min(size, -(-rows // CHUNKS)))
        edges = np.linspace(0, rows, max(1, rows // chunk) + 1).astype(np.int64)
        return cls(rows, edges, max(1, round(size / (rows / (len(edges) - 1)))), timed)

    @property
    def size(self) -> float:
        """Rows of one block."""
        return self.rows * self.length / self.chunks

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.edges) - 1

    @property
    def lengths(self) -> list[int]:
        """Lengths in chunks at which the inflation is taken: powers of two up to the block's own."""
        return sorted({*(2**i for i in range(self.length.bit_length())), self.length})

    def parted(self) -> tuple[np.ndarray, Layout]:
        """Which rows choose by what the others are measured, (rows,), and the blocks of those others.

        Whatever is chosen for being frequent, or near, in some rows is less so in all others; a window is one of the others.
        Where order means time, runs as long as a block stay together, so that the others still show how hours hang together.
        """
        size = max(1, round(self.size))
        run = max(1, min(max(size, LEAST_RUN), self.rows // LEAST_RUNS)) if self.timed else 1
        choosing = np.arange(self.rows) // run % CHOOSING == CHOOSING - 1
        return choosing, Layout.of(self.rows - int(choosing.sum()), size, timed=self.timed)

    def sums(self, values: np.ndarray, length: int) -> np.ndarray:
        """Sums (blocks, ...) over every run of `length` chunks, of sums by chunk (chunks, ...)."""
        total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
        return total[length:] - total[:-length]

    def counts(self, codes: np.ndarray, size: int) -> np.ndarray:
        """How often each code occurs in each chunk, (chunks, size)."""
        chunk = np.repeat(np.arange(self.chunks), np.diff(self.edges))
        flat = np.bincount(chunk * size + codes, minlength=self.chunks * size)
        return flat.reshape(self.chunks, size).astype(np.float64)


@dataclass(frozen=True)
class Usual:
    """How far blocks of one column are from the rest of it.

    Attributes:
        distances: Of each block (blocks,).
        rows: Rows of each block that say something (blocks,).
        inflation: 1 for independent rows, more where they depend on each other.
        inflation_without: The same as each block sees it that is not part of it (blocks,).
    """

    layout: Layout
    distances: np.ndarray
    rows: np.ndarray
    inflation: float
    inflation_without: np.ndarray

    @property
    def worst(self) -> float:
        """The farthest block, and a margin for how few independent ones there are; 0 where order means nothing."""
        return float(self.distances.max(initial=0.0)) * self._margin if self.layout.timed else 0.0

    @property
    def worst_without(self) -> np.ndarray:
        """The same by the blocks that do not overlap each block (blocks,)."""
        if not self.layout.timed:
            return np.zeros(len(self.distances))
        d, reach = self.distances, self.layout.length
        upto, since = np.maximum.accumulate(d), np.maximum.accumulate(d[::-1])[::-1]
        at = np.arange(len(d))
        before = np.where(at >= reach, upto[np.maximum(at - reach, 0)], 0.0)
        after = np.where(at + reach < len(d), since[np.minimum(at + reach, len(d) - 1)], 0.0)
        return np.maximum(before, after) * self._margin

    @property
    def _margin(self) -> float:
        return 1 + 1 / np.sqrt(max(1.0, self.layout.rows / self.layout.size))


def usual(layout: Layout, counts: np.ndarray, distances: np.ndarray, *, ordered: bool) -> Usual:
    """Measure the inflation of one column.

    Args:
        layout: The blocks.
        counts: Counts of its cells by chunk (chunks, cells).
        distances: Of each block from the rest (blocks,).
        ordered: Whether cumulative shares are compared, or shares.
    """
    rows = counts.sum(axis=1)
    independent = Usual(layout, distances, layout.sums(rows, layout.length), 1.0, np.ones(len(distances)))
    if not layout.timed:
        return independent
    values = np.cumsum(counts, axis=1)[:, :-1] if ordered else counts
    share = values.sum(axis=0) / max(1.0, counts.sum())
    noise = float((share * (1 - share)).sum())
    if noise <= 0:
        return independent
    inflation, without = 1.0, np.ones(len(distances))
    for length in layout.lengths:
        size = layout.sums(rows, length)
        parts = layout.sums(values, length) / np.maximum(size, 1.0)[:, None]
        spread = np.maximum(1 / np.maximum(size, 1.0) - 1 / layout.rows, 1e-12)
        ratio = ((parts - share) ** 2).sum(axis=1) / (noise * spread)
        inflation = max(inflation, float(ratio.mean()))
        without = np.maximum(without, _mean_without(ratio, length, layout.length, len(distances)))
    return replace(independent, inflation=inflation, inflation_without=without)


def _mean_without(ratio: np.ndarray, length: int, reach: int, blocks: int) -> np.ndarray:
    """The mean of `ratio` over runs of `length` chunks that do not touch each block of `reach` chunks, (blocks,)."""
    total = np.concatenate([[0.0], np.cumsum(ratio)])
    at = np.arange(blocks)
    low, high = np.maximum(at - length + 1, 0), np.minimum(at + reach, len(ratio))
    left = len(ratio) - (high - low)
    return (total[-1] - (total[high] - total[low])) / np.maximum(left, 1)
