"""What a problem is: a kind of ML, its metrics, and the shapes of its targets and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from treadle.tables.schema import Schema

Values = TypeVar("Values", float, np.ndarray)


@dataclass(frozen=True)
class Metric:
    """A measure of quality.

    Attributes:
        score: Takes the encoded target (n,) and the answers, returns one number.
        of_mean: The metric of mean row losses, for many of them at once; `None` if it is not a function of that mean alone.
    """

    name: str
    higher_is_better: bool
    score: Callable[[np.ndarray, np.ndarray], float]
    of_mean: Callable[[np.ndarray], np.ndarray] | None = None

    def gain(self, champion: Values, challenger: Values) -> Values:
        """How much better the challenger is, in the metric's unit; negative if worse."""
        return challenger - champion if self.higher_is_better else champion - challenger


class Problem(Protocol):
    """A kind of ML. Answers have shape (n,) for regression and (n, n_classes), rows summing to 1, otherwise.

    Attributes:
        name: As project.yaml has it.
        metrics: Its metrics by name.
        default_metric: What decides where a project does not say.
    """

    name: str
    metrics: Mapping[str, Metric]
    default_metric: str

    def encode_target(self, target: pd.Series, schema: Schema) -> np.ndarray:
        """The target (n,) as numbers: values for regression, indexes into `schema.classes` otherwise."""
        ...

    def predict(self, model: Any, X: pd.DataFrame) -> np.ndarray:
        """The model's answers to rows (n, columns), float64."""
        ...

    def baseline(self, y_train: np.ndarray, n: int) -> np.ndarray:
        """The answers to n rows of somebody who knows the encoded training target (n_train,) and no feature."""
        ...

    def row_losses(self, metric: str, y: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """The loss of each row (n,), lower is better, that stands for the metric; of an encoded target (n,) and answers."""
        ...

    def intervals(
        self, metric: str, y: np.ndarray, answer: np.ndarray, seed: int, samples: int = 500
    ) -> tuple[float, float]:
        """A 95 % percentile bootstrap interval of the metric: low and high, in its unit; `samples` resamples of rows."""
        ...


def bootstrap_interval(
    metric: Metric, y: np.ndarray, answer: np.ndarray, seed: int, samples: int = 500
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval over rows.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(samples):
        rows = rng.integers(0, len(y), len(y))
        scores.append(metric.score(y[rows], answer[rows]))
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return float(low), float(high)
