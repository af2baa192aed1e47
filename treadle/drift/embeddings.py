"""Embeddings, (n, width) matrices of texts or images, as a few scores that are compared like any column.

A third of the reference draws the map (principal components, centres of its clusters), the others are measured on it,
so that they are no nearer to the map than a quiet window is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMPONENTS = 6
CENTRES = 12
ROUNDS = 10


@dataclass(frozen=True)
class Scores:
    """Rows by the map.

    Attributes:
        numbers: Scores on the components, and the distance from the nearest centre, (n, components + 1).
        nearest: Which centre is the nearest, from 1 on, (n,).
        centres: How many there are.
    """

    numbers: np.ndarray
    nearest: np.ndarray
    centres: int


def landmarks(drawn: np.ndarray, *measured: np.ndarray, seed: int = 0) -> tuple[Scores, ...]:
    """Scores of rows that did not draw the map.

    Args:
        drawn: Rows of the reference that draw it (n, width).
        measured: Its other rows, and the window, each (m, width).
        seed: Of the centres to begin with.
    """
    drawn = drawn.astype(np.float64)
    middle = drawn.mean(axis=0)
    axes = np.linalg.eigh(np.cov(drawn, rowvar=False))[1][:, ::-1][:, :COMPONENTS]
    centres = _centres(drawn, np.random.default_rng(seed))

    def scores(rows: np.ndarray) -> Scores:
        squared = _squared(rows, centres)
        far = np.sqrt(squared.min(axis=1))
        return Scores(np.column_stack([(rows - middle) @ axes, far]), squared.argmin(axis=1) + 1, len(centres))

    return tuple(scores(rows.astype(np.float64)) for rows in measured)


def _centres(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres of clusters (centres, width), by S. Lloyd's algorithm (1982)."""
    centres = rows[rng.choice(len(rows), min(CENTRES, len(rows)), replace=False)]
    for _ in range(ROUNDS):
        nearest = _squared(rows, centres).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(centres))
        sums = np.eye(len(centres))[nearest].T @ rows
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres


def _squared(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances (n, centres)."""
    both = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * rows @ centres.T
    return np.maximum(both, 0.0)
