"""Comparisons of shares of rows: the cells of a category one by one, what is missing, what is new, what is gone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from treadle.drift.blocks import Layout, Usual, usual
from treadle.drift.bounds import loss_chance, share_chance
from treadle.drift.cells import Categories
from treadle.drift.comparison import LEAST_DISTANCE, Comparison, Counted, distances, gaps
from treadle.drift.records import Kind
from treadle.drift.words import (
    LEAST_SHARED,
    say_category,
    say_fewer_new,
    say_gone,
    say_label,
    say_missing,
    say_new,
    say_others,
)

LEAST_SHARE = 0.05  # of rows that must be newly missing, of a new category, or of one that is gone


def compare_cells(kind: Kind, name: str, counted: Counted, strangers: str | None = None) -> Comparison | None:
    """Compare the share of each cell by a bound of its own: few rows say more of one category than of all together.

    All cells share one comparison's level, by the inequality of C. Bonferroni (1936).

    Args:
        kind: Of the finding.
        name: The column.
        counted: All cells.
        strangers: What to say of the last cell, see `tell_strangers`.

    Returns:
        The cell that chance explains least, with those that blocks of the reference move as its rivals; `None` if one
        side has no value at all.
    """
    if not counted.has_both:
        return None
    before, now, part = counted.normal, counted.current, counted.blocks
    far = np.abs(gaps(part, before - part))  # (blocks, cells)
    moved = gaps(now[None], before[None])[0]
    telling = np.maximum(np.abs(moved), far.max(axis=0)) > LEAST_DISTANCE  # the others exceed nothing
    telling[np.abs(moved).argmax()] = True
    compared = [_compare_cell(kind, name, counted, cell, far[:, cell]) for cell in np.flatnonzero(telling).tolist()]
    if strangers is not None and telling[-1]:
        compared[-1] = replace(compared[-1], said=strangers)
    best = min(range(len(compared)), key=lambda i: _unlikely(compared[i]))
    return replace(compared[best], rivals=tuple(compared[:best] + compared[best + 1 :]))


def _compare_cell(kind: Kind, name: str, counted: Counted, cell: int, far: np.ndarray) -> Comparison:
    """One cell against all others together.

    Args:
        kind: Of the finding.
        name: The column.
        counted: All cells.
        cell: Which one.
        far: How far its share in blocks is from the rest (blocks,).
    """
    one, rows = counted.chunks[:, cell], counted.rows
    both = np.column_stack([one, counted.chunks.sum(axis=1) - one])
    old, new = float(counted.normal[cell]) / rows[1], float(counted.current[cell]) / rows[0]
    said = _say_cell(kind, name, counted, cell, old, new)
    found = usual(counted.layout, both, far, ordered=False)
    chance = partial(share_chance, share=old)
    return Comparison(
        kind, name, abs(new - old), new - old, said, LEAST_DISTANCE, *rows, found, chance, among=len(counted.normal)
    )


def _say_cell(kind: Kind, name: str, counted: Counted, cell: int, old: float, new: float) -> str:
    if kind == "target":
        return say_label(counted.name(cell), old, new)
    called = counted.name(cell)
    if called is None and cell == len(counted.normal) - 1:  # the last is of all rare ones together
        return say_others(name, old, new)
    return say_category(name, called, old, new)


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
        "missing", name, abs(now - before), now - before, say_missing(name, now, before),
        LEAST_SHARE, len(current), len(normal), usual(layout, counts, far, ordered=False),
        partial(share_chance, share=before),
    )  # fmt: skip


def compare_new(name: str, categories: Categories, layout: Layout) -> Comparison:
    """Compare the share of rows whose category the reference never saw with how many such rows there always are.

    Args:
        name: The column.
        categories: Of the reference (n,) and of the window (m,).
        layout: Blocks of the reference.

    Source: I. Good, The population frequencies of species (1953): the share of rows whose category occurs once.
    """
    normal, current, known = categories.normal, categories.current, categories.known
    counts = np.bincount(normal, minlength=known + 1)
    counts[0] = 0
    once = float((counts == 1).sum() / max(len(normal), 1))
    now = float((current > known).mean()) if len(current) else 0.0
    begin, end = layout.edges[: layout.chunks - layout.length + 1], layout.edges[layout.length :]
    at = np.arange(len(normal))
    first, last = np.full(known + 1, len(normal)), np.full(known + 1, -1)
    np.minimum.at(first, normal, at)
    np.maximum.at(last, normal, at)
    inside = (first >= begin[:, None]) & (last < end[:, None]) if layout.timed and known else None
    alone = inside @ counts / layout.size if inside is not None else np.full(len(begin), once)
    said = say_fewer_new(name, now, once) if now < once else _say_strangers(name, categories, now)
    return Comparison(
        "categories", name, abs(now - once), now - once, said, LEAST_SHARE, len(current), len(normal),
        Usual(layout, np.abs(alone - once), np.full(len(begin), layout.size), 1.0, np.ones(len(begin))),
        partial(share_chance, share=once),
    )  # fmt: skip


def tell_strangers(new: Comparison, counted: Counted) -> str | None:
    """What to say of the cell of rare categories and unseen ones: what `compare_new` says where these are most of its growth.

    Both then say the same, and it is told once.
    """
    old, now = (float(side[-1]) / max(side.sum(), 1) for side in (counted.normal, counted.current))
    return new.said if new.effect > 0 and 2 * new.effect >= now - old else None


def _say_strangers(name: str, categories: Categories, now: float) -> str:
    """The new categories, those by name that some rows share: what one row alone has may say whose it is."""
    strangers, rows = np.unique(categories.current[categories.current > categories.known], return_counts=True)
    often = np.argsort(-rows, kind="stable")
    told = categories.named(strangers[often][rows[often] >= LEAST_SHARED])
    return say_new(name, told or (), len(strangers), now)


def compare_vanished(name: str, counted: Counted) -> Comparison:
    """Compare the largest share of a category that is gone with the shares that blocks of the reference lack."""
    now, known = counted.rows
    own = slice(0, max(0, len(counted.normal) - 1))  # the last cell is of all rare ones
    share = counted.normal[own] / max(known, 1)
    gone = counted.current[own] == 0
    lost = float(share[gone].max(initial=0.0)) if not gone.all() else 0.0
    which = int(np.where(gone, share, -1.0).argmax()) if lost else 0
    far = np.where(counted.blocks[:, own] == 0, share, 0.0).max(axis=1, initial=0.0)
    among = max(1, int((share > LEAST_SHARE).sum()))
    found = usual(counted.layout, counted.chunks[:, own], far, ordered=False)
    return Comparison(
        "categories", name, lost, -lost, say_gone(name, counted.name(which), lost),
        LEAST_SHARE, now, max(known, 1), found, loss_chance, among,
    )  # fmt: skip
