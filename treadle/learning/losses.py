"""The loss of each row, lower is better, that stands for a metric. Plain NumPy: serving judges releases by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EPSILON = 1e-7  # float32 probabilities cannot be told from 0 and 1 below it


def class_losses(metric: str, y: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """0 or 1 for `accuracy`, Brier loss for `brier`; log loss for the others, which no row has alone.

    Args:
        metric: The metric's name.
        y: Indexes into the classes (n,); -1 is a class that the answer does not know.
        answer: Probabilities (n, n_classes).

    Returns:
        Shape (n,).

    >>> class_losses("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    array([0., 1.])
    """
    known = y >= 0
    if metric == "accuracy":
        return (answer.argmax(axis=1) != y).astype(float)
    if metric == "brier":
        truth = np.eye(answer.shape[1])[y.astype(int)] * known[:, None]
        return np.sum((answer - truth) ** 2, axis=1) / 2 + np.where(known, 0.0, 0.5)
    given = np.where(known, answer[np.arange(len(y)), y.astype(int)], 0.0)
    return -np.log(np.clip(given, EPSILON, 1 - EPSILON))


def number_losses(metric: str, y: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Absolute error for `mae`, squared error for the others, shape (n,)."""
    error = np.abs(y - answer)
    return error if metric == "mae" else error**2


LOSS_NAMES = {
    "mae": "absolute error",
    "rmse": "squared error",
    "r2": "squared error",
    "accuracy": "error of 0 or 1",
    "brier": "Brier loss",
}


def loss_name(metric: str) -> str:
    """What the loss of a row is that stands for a metric, in words; the log loss for metrics that no row has alone.

    >>> loss_name("rmse"), loss_name("auc")
    ('squared error', 'log loss')
    """
    return LOSS_NAMES.get(metric, "log loss")


def losses_of_answers(metric: str, labels: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The losses of answers as the ledger keeps them; NaN where a label or an answer cannot be read.

    Args:
        metric: Decides which loss.
        labels: What came true, one an answer.
        answers: `{"prediction": number}`, or `{"prediction": class, "probabilities": {class: share}}`.

    Returns:
        Shape (n,).
    """
    return np.array([_loss(metric, label, answer) for label, answer in zip(labels, answers, strict=True)])


def _loss(metric: str, label: Any, answer: Mapping[str, Any]) -> float:
    shares = answer.get("probabilities")
    try:
        if shares is None:
            return float(number_losses(metric, np.array([float(label)]), np.array([float(answer["prediction"])]))[0])
        classes = list(shares)
        y = np.array([classes.index(str(label)) if str(label) in shares else -1])
        return float(class_losses(metric, y, np.array([list(shares.values())], dtype=np.float64))[0])
    except (KeyError, TypeError, ValueError):
        return float("nan")
