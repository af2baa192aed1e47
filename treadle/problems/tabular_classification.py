"""Classification: a probability for each class, for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from treadle.errors import BadData
from treadle.learning.losses import class_losses
from treadle.problems.protocol import Metric, bootstrap_interval
from treadle.tables.schema import Schema


def _log_loss(y: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean(class_losses("log_loss", y, answer)))


def _auc(y: np.ndarray, answer: np.ndarray) -> float:
    """Area under the ROC curve; one class against the rest, averaged, when there are more than two."""
    if answer.shape[1] == 2:
        return _binary_auc(y == 1, answer[:, 1])
    areas = [_binary_auc(y == k, answer[:, k]) for k in range(answer.shape[1])]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def _binary_auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The Mann-Whitney statistic, ties counted half; NaN when only one class is there."""
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _accuracy(y: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean(answer.argmax(axis=1) == y))


def _f1(y: np.ndarray, answer: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y.astype(int), answer.argmax(axis=1), average="macro", zero_division=0))  # pyright: ignore[reportArgumentType]


def _brier(y: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean(class_losses("brier", y, answer)))


class TabularClassification:
    """Answers are probabilities, shape (n, n_classes), in the order of `schema.classes`."""

    name = "tabular-classification"
    default_metric = "log_loss"
    metrics: Mapping[str, Metric] = MappingProxyType(
        {
            "log_loss": Metric("log_loss", higher_is_better=False, score=_log_loss, of_mean=np.asarray),
            "auc": Metric("auc", higher_is_better=True, score=_auc),
            "accuracy": Metric("accuracy", higher_is_better=True, score=_accuracy, of_mean=lambda errors: 1 - errors),
            "f1": Metric("f1", higher_is_better=True, score=_f1),
            "brier": Metric("brier", higher_is_better=False, score=_brier, of_mean=np.asarray),
        }
    )

    def encode_target(self, target: pd.Series, schema: Schema) -> np.ndarray:
        """Indexes into `schema.classes`, shape (n,).

        Raises:
            BadData: A label is none of the classes.
        """
        classes = list(schema.classes or ())
        codes = pd.Categorical(target.astype("str"), categories=classes).codes
        if (codes < 0).any():
            stranger = str(target[np.asarray(codes) < 0].iloc[0])
            raise BadData(
                f"The target has the label '{stranger}', which is none of the classes ({', '.join(classes[:10])}). "
                "Mend the row, or add the class to schema.json."
            )
        return np.asarray(codes, dtype=np.int64)

    def predict(self, model: Any, X: pd.DataFrame) -> np.ndarray:
        """Probabilities, shape (n, n_classes)."""
        return np.asarray(model.predict_proba(X), dtype=np.float64)

    def baseline(self, y_train: np.ndarray, n: int) -> np.ndarray:
        """The class shares of the training rows, n times."""
        counts = np.bincount(y_train.astype(int))
        return np.tile(counts / counts.sum(), (n, 1))

    def row_losses(self, metric: str, y: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Shape (n,): 0 or 1 for `accuracy`, Brier loss for `brier`; log loss for the others, which no row has alone."""
        return class_losses(metric, y, answer)

    def intervals(
        self, metric: str, y: np.ndarray, answer: np.ndarray, seed: int, samples: int = 500
    ) -> tuple[float, float]:
        """A 95 % bootstrap interval of one metric."""
        return bootstrap_interval(self.metrics[metric], y, answer, seed, samples)
