"""Comparisons of shares of rows: the cells of a category one by one, what is missing, what is new, what is gone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from treadle.drift.blocks import Layout, Usual, usual
from treadle.drift.bounds import loss_chance, share_chance
from treadle.drift.cells import Cells
from treadle.drift.comparison import LEAST_DISTANCE, Comparison, distances, gaps
from treadle.drift.records import Kind

LEAST_SHARE = 0.05  # of rows that must be newly missing, of a new category, or of one that is gone


def compare_cells(kind: Kind, name: str, cells: Cells, layout: Layout) -> Comparison | None:
    """Compare the share of each cell by a bound of its own: few rows say more of one category than of all together.

    All cells share one comparison's level, by the inequality of C. Bonferroni (1936).

    Returns:
        The cell that chance explains least, with those that blocks of the reference move as its rivals; `None` if one
        side has no value at all.
    """
    counts = layout.counts(cells.normal, cells.size)[:, 1:]
    before, now = counts.sum(axis=0), np.bincount(cells.current, minlength=cells.size)[1:].astype(np.float64)
    if not before.sum() or not now.sum():
        return None
    part = layout.sums(counts, layout.length)
    far = np.abs(gaps(part, before - part))  # (blocks, cells)
    moved = gaps(now[None], before[None])[0]
    telling = np.maximum(np.abs(moved), far.max(axis=0)) > LEAST_DISTANCE  # the others exceed nothing
    telling[np.abs(moved).argmax()] = True
    compared = [
        _compare_cell(kind, name, counts, now, cell, far[:, cell], layout) for cell in np.flatnonzero(telling).tolist()
    ]
    best = min(range(len(compared)), key=lambda i: _unlikely(compared[i]))
    return replace(compared[best], rivals=tuple(compared[:best] + compared[best + 1 :]))


def _compare_cell(
    kind: Kind, name: str, counts: np.ndarray, now: np.ndarray, cell: int, far: np.ndarray, layout: Layout
) -> Comparison:
    """One cell against all others together.

    Args:
        kind: Of the finding.
        name: The column.
        counts: Of all cells by chunk of the reference (chunks, cells).
        now: Of all cells in the window (cells,).
        cell: Which one.
        far: How far its share in blocks is from the rest (blocks,).
        layout: Blocks of the reference.
    """
    both = np.column_stack([counts[:, cell], counts.sum(axis=1) - counts[:, cell]])
    rows = int(now.sum()), int(counts.sum())
    old, new = float(counts[:, cell].sum()) / rows[1], float(now[cell]) / rows[0]
    said = f"one category of '{name}' went from {old:.1%} to {new:.1%} of the rows"
    found = usual(layout, both, far, ordered=False)
    chance = partial(share_chance, share=old)
    return Comparison(
        kind, name, abs(new - old), new - old, said, LEAST_DISTANCE, *rows, found, chance, among=counts.shape[1]
    )


def _unlikely(c: Comparison) -> tuple[bool, float, float]:
    """What sorts the cell that moved most, by how little chance explains it, before the others."""
    return c.statistic <= c.least, c.probability(c.statistic), -c.statistic


def compare_missing(name: str, normal: np.ndarray, current: np.ndarray, layout: Layout) -> Comparison:
    """Compare the shares of missing values; of each row of the reference (n,) and of the window (m,) whether it misses its own."""
    counts = layout.counts(normal.astype(np.int64), 2)
    part = layout.sums(counts, layout.length)
    before, now = float(normal.mean()), float(current.mean())
    far = distances(part, counts.sum(axis=0) - part, ordered=False)
    return Comparison(
        "missing", name, abs(now - before), now - before, f"{now:.1%} of '{name}' is missing, {before:.1%} was normal",
        LEAST_SHARE, len(current), len(normal), usual(layout, counts, far, ordered=False),
        partial(share_chance, share=before),
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
    return Comparison(
        "categories", name, abs(now - once), now - once, said, LEAST_SHARE, len(current), len(normal),
        Usual(layout, np.abs(alone - once), np.full(len(begin), layout.size), 1.0, np.ones(len(begin))),
        partial(share_chance, share=once),
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
    far = np.where(part == 0, share, 0.0).max(axis=1, initial=0.0)
    among = max(1, int((share > LEAST_SHARE).sum()))
    return Comparison(
        "categories", name, lost, -lost, f"a category of '{name}' that was {lost:.1%} of the rows is gone",
        LEAST_SHARE, int((cells.current > 0).sum()), int(known), usual(layout, counts, far, ordered=False),
        loss_chance, among,
    )  # fmt: skip
