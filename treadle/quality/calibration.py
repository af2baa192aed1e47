"""Probabilities that mean what they say: isotonic maps learned from answers to rows that the model had not seen.

Source: B. Zadrozny, C. Elkan (2002), "Transforming classifier scores into accurate multiclass probability estimates";
a map is kept only where it lowers the Brier loss on folds that it was not learned from, as NannyML does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """One map a class, as the points of a broken line; none for probabilities that are left as they are.

    Attributes:
        maps: (given, true) points of each class, both ascending; for two classes only of the second.
    """

    maps: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()

    def __call__(self, answer: np.ndarray) -> np.ndarray:
        """The probabilities (n, n_classes) as they come true, rows sum to 1."""
        if not self.maps:
            return answer / answer.sum(axis=1, keepdims=True)
        if answer.shape[1] == 2:
            chance = np.interp(answer[:, 1], *self.maps[0])
            return np.column_stack([1 - chance, chance])
        mapped = np.column_stack([np.interp(answer[:, k], *points) for k, points in enumerate(self.maps)])
        total = mapped.sum(axis=1, keepdims=True)
        return np.where(total > 0, mapped / np.where(total > 0, total, 1), answer)


def calibrate(answer: np.ndarray, y: np.ndarray, fold: np.ndarray) -> tuple[Calibration, np.ndarray]:
    """Learn the maps, if they help.

    Args:
        answer: Probabilities (n, n_classes) of rows that the model had not seen.
        y: Their classes (n,).
        fold: The fold of each row (n,); maps are tried on folds that they were not learned from.

    Returns:
        The calibration learned from all rows; and for each row the probabilities by one that did not know its fold.
    """
    mapped = np.empty_like(answer)
    for number in np.unique(fold):
        out = fold == number
        mapped[out] = _learn(answer[~out], y[~out])(answer[out]) if (~out).any() else answer[out]
    truth = np.eye(answer.shape[1])[y]
    plain = Calibration()
    if np.mean((mapped - truth) ** 2) < np.mean((answer - truth) ** 2):
        return _learn(answer, y), mapped
    return plain, plain(answer)


def _learn(answer: np.ndarray, y: np.ndarray) -> Calibration:
    classes = [1] if answer.shape[1] == 2 else list(range(answer.shape[1]))
    return Calibration(tuple(_points(answer[:, k], y == k) for k in classes))


def _points(given: np.ndarray, came: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.isotonic import IsotonicRegression

    found: Any = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(given, came.astype(np.float64))
    return tuple(map(float, found.X_thresholds_)), tuple(map(float, found.y_thresholds_))
