"""Rectangles as arrays: how much they overlap, and which of those on one thing is kept."""

from __future__ import annotations

import numpy as np

from treadle.capabilities.boxes import Box

Corners = np.ndarray
"""float (n, 4): xmin, ymin, xmax, ymax."""


def overlaps(ones: Corners, others: Corners) -> np.ndarray:
    """Intersection over union of each with each, float (n, m), 0 to 1.

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(2).tolist()
    [[1.0, 0.33, 0.0]]
    """
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    sizes = np.prod(ones[:, 2:] - ones[:, :2], axis=1)[:, None] + np.prod(others[:, 2:] - others[:, :2], axis=1)[None]
    return common / np.maximum(sizes - common, 1e-9)


def suppress(corners: Corners, scores: np.ndarray, labels: np.ndarray, most: float) -> np.ndarray:
    """Which are kept when of those that overlap and have one label only the surest stays, the surest first.

    Args:
        corners: float (n, 4).
        scores: float (n,).
        labels: int (n,).
        most: The overlap above which two are taken for the same thing.

    Returns:
        int (k,), places in the arrays.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(waiting):
        best, others = waiting[0], waiting[1:]
        kept.append(int(best))
        same = (overlaps(corners[best : best + 1], corners[others])[0] > most) & (labels[others] == labels[best])
        waiting = others[~same]
    return np.array(kept, np.int64)


def box_within(corners: np.ndarray, width: int, height: int) -> Box:
    """A row of corners (4,) as a box of whole pixels, cut at the picture's edges."""
    xmin, ymin = np.floor(corners[:2]).clip(0, (width, height)).astype(int)
    xmax, ymax = np.ceil(corners[2:]).clip(0, (width, height)).astype(int)
    return Box(int(xmin), int(ymin), int(xmax), int(ymax))
