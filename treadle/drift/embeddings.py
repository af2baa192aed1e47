"""Embeddings, (n, width) matrices of texts or images, as a few scores that are compared like any column.

Half of the reference draws the map (principal components, centres of its clusters), the other half is measured on it,
so that it is no nearer to the map than a quiet window is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMPONENTS = 6
CENTRES = 12
RUN = 16  # rows that go to the same half together
ROUNDS = 10


@dataclass(frozen=True)
class Scores:
    """Rows by the map.

    Attributes:
        numbers: Scores on the components, and the distance from the nearest centre, (n, components + 1).
        nearest: Which centre is the nearest, from 1 on, (n,).
    """

    numbers: np.ndarray
    nearest: np.ndarray


def landmarks(normal: np.ndarray, current: np.ndarray, seed: int = 0) -> tuple[np.ndarray, Scores, Scores]:
    """Scores of the half of the reference that did not draw the map, and of the window.

    Args:
        normal: The reference (n, width), in time order.
        current: The window (m, width).
        seed: Of the centres to begin with.

    Returns:
        Which rows of the reference were measured (n,); their scores; the window's scores.
    """
    drawing = np.arange(len(normal)) // RUN % 2 == 0
    drawn = normal[drawing].astype(np.float64)
    middle = drawn.mean(axis=0)
    axes = np.linalg.eigh(np.cov(drawn, rowvar=False))[1][:, ::-1][:, :COMPONENTS]
    centres = _centres(drawn, np.random.default_rng(seed))

    def scores(rows: np.ndarray) -> Scores:
        squared = _squared(rows, centres)
        far = np.sqrt(squared.min(axis=1))
        return Scores(np.column_stack([(rows - middle) @ axes, far]), squared.argmin(axis=1) + 1)

    return ~drawing, scores(normal[~drawing].astype(np.float64)), scores(current.astype(np.float64))


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
