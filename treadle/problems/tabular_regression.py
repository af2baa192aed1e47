"""Regression: a number for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from treadle.learning.losses import number_losses
from treadle.problems.protocol import Metric, bootstrap_interval
from treadle.tables.schema import Schema


def _rmse(y: np.ndarray, answer: np.ndarray) -> float:
    return float(np.sqrt(np.mean((y - answer) ** 2)))


def _mae(y: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean(np.abs(y - answer)))


def _r2(y: np.ndarray, answer: np.ndarray) -> float:
    spread = float(np.sum((y - y.mean()) ** 2))
    return 1 - float(np.sum((y - answer) ** 2)) / spread if spread else float("nan")


class TabularRegression:
    """Answers are numbers, shape (n,)."""

    name = "tabular-regression"
    default_metric = "rmse"
    metrics: Mapping[str, Metric] = MappingProxyType(
        {
            "rmse": Metric("rmse", higher_is_better=False, score=_rmse, of_mean=np.sqrt),
            "mae": Metric("mae", higher_is_better=False, score=_mae, of_mean=np.asarray),
            "r2": Metric("r2", higher_is_better=True, score=_r2),
        }
    )

    def encode_target(self, target: pd.Series, schema: Schema) -> np.ndarray:  # noqa: ARG002 - the protocol's shape
        """Values, shape (n,)."""
        return target.to_numpy(dtype=np.float64)

    def predict(self, model: Any, X: pd.DataFrame) -> np.ndarray:
        """Predicted values, shape (n,)."""
        return np.asarray(model.predict(X), dtype=np.float64).ravel()

    def baseline(self, y_train: np.ndarray, n: int) -> np.ndarray:
        """The training median, n times."""
        return np.full(n, float(np.median(y_train)))

    def row_losses(self, metric: str, y: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Absolute error for `mae`, squared error for `rmse` and `r2`, shape (n,)."""
        return number_losses(metric, y, answer)

    def intervals(
        self, metric: str, y: np.ndarray, answer: np.ndarray, seed: int, samples: int = 500
    ) -> tuple[float, float]:
        """A 95 % bootstrap interval of one metric."""
        return bootstrap_interval(self.metrics[metric], y, answer, seed, samples)
