"""Whether a model does as well for each group of people as for the others, by a standard measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from treadle.problems import Problem
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 30
"""Rows of a group (for classes: of a group and a class) of which fewer say nothing."""


@dataclass(frozen=True)
class Fairness:
    """How even the answers are over the groups of one column.

    Attributes:
        group: The column.
        ratio: The worst group's figure over the best group's, 0 to 1; 1 is even. NaN if fewer than two groups have rows.
        worst: The group that fares worst.
        best: The group that fares best.
        measured: What was measured, in plain words.
        rows: Rows measured.
    """

    group: str
    ratio: float
    worst: str
    best: str
    measured: str
    rows: int


def measure_fairness(
    groups: pd.Series, y: np.ndarray, answer: np.ndarray, problem: Problem, metric: str, schema: Schema
) -> Fairness:
    """The ratio of the worst group to the best.

    For classes this is equal opportunity: the share of a class's rows that are recognised, by group, for each class in
    turn; the class with the lowest ratio counts. For numbers it is the mean loss of the best group over that of the worst.

    Args:
        groups: The group of each row (n,); rows without one are left out.
        y: Encoded target (n,).
        answer: The model's answers, (n,) or (n, n_classes).
        problem: Knows the loss.
        metric: Decides which loss.
        schema: Knows the classes.

    Sources: equal opportunity, M. Hardt, E. Price and N. Srebro (NeurIPS 2016); the ratio, Fairlearn's
        `equal_opportunity_ratio`, here for each class.
    """
    name = str(groups.name)
    known = groups.notna().to_numpy()
    labels, y, answer = groups[known].astype(str).to_numpy(dtype=object), y[known], answer[known]
    if schema.classes is None:
        losses = problem.row_losses(metric, y, answer)
        return _even(name, labels, losses, f"mean loss for {metric}", lower=True)
    found = []
    for code, cls in enumerate(schema.classes):
        own = y == code
        right = (answer[own].argmax(axis=1) == code).astype(float)
        found.append(_even(name, labels[own], right, f"share of '{cls}' that is recognised", lower=False))
    judged = [fairness for fairness in found if np.isfinite(fairness.ratio)]
    return min(judged, key=lambda fairness: fairness.ratio, default=found[0])


def _even(group: str, labels: np.ndarray, figures: np.ndarray, measured: str, *, lower: bool) -> Fairness:
    """The mean figure of each group with rows enough, and the ratio of the worst to the best."""
    from fairlearn.metrics import MetricFrame

    names, counts = np.unique(labels, return_counts=True)
    kept = np.isin(labels, names[counts >= FEWEST])
    if len(np.unique(labels[kept])) < 2:
        return Fairness(group, float("nan"), "", "", measured, int(kept.sum()))
    frame: Any = MetricFrame(
        metrics=lambda truth, given: float(np.mean(given)),  # noqa: ARG005 - Fairlearn's shape
        y_true=figures[kept],
        y_pred=figures[kept],
        sensitive_features=labels[kept],
    )
    by_group, ratio = frame.by_group, float(frame.ratio(method="between_groups"))
    low, high = str(by_group.idxmin()), str(by_group.idxmax())
    worst, best = (high, low) if lower else (low, high)
    return Fairness(group, ratio if np.isfinite(ratio) else 1.0, worst, best, measured, int(kept.sum()))
