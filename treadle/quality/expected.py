"""Metrics as they are to be expected: of answers whose labels are not known, from probabilities or losses that are.

Plain NumPy on arrays; knows nothing of where they come from.

Source: confidence-based performance estimation (CBPE), J. Kivimäki, J. Białek, W. Kuberski, J. Nurminen, "Performance
Estimation in Binary Classification Using Calibrated Confidence" (2025, arXiv:2505.05295), and NannyML's documentation,
"Estimation of Performance of the Monitored Model", for the area under the curve and for direct loss estimation (DLE).
"""

from __future__ import annotations

import numpy as np

from treadle.learning.losses import EPSILON


def expected_class_losses(metric: str, chances: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """What `treadle.learning.losses.class_losses` is to be expected to give for each row, shape (n,).

    Args:
        metric: The metric's name; log loss stands for those that no row has alone.
        chances: Calibrated probabilities of the classes (n, n_classes), rows sum to 1.
        answer: The model's own (n, n_classes).

    >>> expected_class_losses("accuracy", np.array([[0.8, 0.2]]), np.array([[0.9, 0.1]]))
    array([0.2])
    """
    if metric == "accuracy":
        return 1 - chances[np.arange(len(answer)), answer.argmax(axis=1)]
    if metric == "brier":
        return (np.sum(answer**2, axis=1) - 2 * np.sum(chances * answer, axis=1) + 1) / 2
    return -np.sum(chances * np.log(np.clip(answer, EPSILON, 1 - EPSILON)), axis=1)


def expected_class_metric(metric: str, chances: np.ndarray, answer: np.ndarray) -> float:
    """A classification metric's expected value; `nan` where it has none.

    Args:
        metric: Its name.
        chances: Calibrated probabilities of the classes (n, n_classes), rows sum to 1.
        answer: The model's own (n, n_classes).

    Raises:
        KeyError: It is a metric that no estimate is known for.
    """
    if metric in ("log_loss", "brier"):
        return float(expected_class_losses(metric, chances, answer).mean())
    return {"accuracy": _accuracy, "auc": _auc, "f1": _f1}[metric](chances, answer)


def _accuracy(chances: np.ndarray, answer: np.ndarray) -> float:
    return float(1 - expected_class_losses("accuracy", chances, answer).mean())


def _auc(chances: np.ndarray, answer: np.ndarray) -> float:
    """One class against the rest, averaged, when there are more than two, as the metric itself is."""
    if answer.shape[1] == 2:
        return _binary_auc(chances[:, 1], answer[:, 1])
    areas = [_binary_auc(chances[:, k], answer[:, k]) for k in range(answer.shape[1])]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def _binary_auc(chance: np.ndarray, score: np.ndarray) -> float:
    """The expected share of pairs of a positive and a negative row that are in order, ties counted half.

    Row i is positive and row j negative with probability chance_i (1 - chance_j); a row makes no pair with itself.
    """
    levels, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place, weights=chance, minlength=len(levels))
    negative = np.bincount(place, weights=1 - chance, minlength=len(levels))
    below = np.cumsum(negative) - negative
    itself = float(np.sum(chance * (1 - chance)))
    pairs = float(positive.sum() * negative.sum()) - itself
    ordered = float(np.sum(positive * (below + negative / 2))) - itself / 2
    return ordered / pairs if pairs > 0 else float("nan")


def _f1(chances: np.ndarray, answer: np.ndarray) -> float:
    """Macro F1 of the expected confusion matrix; a class that neither comes nor is answered counts for nothing."""
    said = np.eye(answer.shape[1])[answer.argmax(axis=1)]
    right = np.sum(said * chances, axis=0)
    both = said.sum(axis=0) + chances.sum(axis=0)
    there = both > 1e-9
    return float(np.mean(2 * right[there] / both[there])) if there.any() else float("nan")


def number_metric(metric: str, losses: np.ndarray, answer: np.ndarray) -> float:
    """A regression metric from its rows' (expected) losses.

    Args:
        metric: `mae` (from absolute errors), `rmse` or `r2` (from squared ones).
        losses: Shape (n,).
        answer: Predictions (n,). Of `r2`, the target's variance is that of the answers and of their errors, together.
    """
    loss = float(losses.mean())
    if metric == "rmse":
        return float(np.sqrt(max(loss, 0.0)))
    if metric == "r2":
        spread = float(answer.var()) + loss
        return 1 - loss / spread if spread > 0 else float("nan")
    return loss
