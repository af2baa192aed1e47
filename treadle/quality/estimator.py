"""The quality of answers whose labels are not known yet, with an interval; learned when a version is registered.

For classification from its own confidence, calibrated on answers to rows that it had not seen; for regression from a
small model of the loss. Neither can see that the same inputs have come to mean something else (concept drift): only
labels can. What it rests on is in `expected`, `calibration`, `loss_model` and `spread`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from treadle.problems import Problem
from treadle.quality.calibration import Calibration, calibrate
from treadle.quality.expected import expected_class_losses, expected_class_metric, number_metric
from treadle.quality.loss_model import LossModel, fit_loss_model
from treadle.quality.spread import Spread, measure_spread
from treadle.quality.use import Use
from treadle.tables.labeling import event_days
from treadle.tables.schema import Column, Schema

FOLDS = 5
LEAST_ROWS = 100
MOST_LEVELS = 1000
BOUNDED = ("accuracy", "auc", "f1", "r2")
"""Metrics that are at most 1; the others are losses, whose errors grow with them."""
Method = Literal["confidence", "loss"]


@dataclass(frozen=True)
class Seen:
    """The values of a column that a version has learned from: a range, or a set of categories."""

    low: float | None = None
    high: float | None = None
    levels: frozenset[str] | None = None

    def outside(self, values: pd.Series) -> np.ndarray:
        """Which values (n,) are none of them; a missing one is no value."""
        if self.levels is not None:
            texts = values.astype("object").where(values.notna(), "").astype(str)
            return (~texts.isin(self.levels | {""})).to_numpy()
        if self.low is None or self.high is None:
            return np.zeros(len(values), dtype=bool)
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return (numbers < self.low) | (numbers > self.high)


@dataclass(frozen=True)
class Estimator:
    """What estimates the quality of one version's answers.

    Attributes:
        metric: The metric that is estimated.
        classes: Names of the classes; `None` for regression.
        expects: Gives the probabilities that come true (classification) or the expected losses (regression).
        uses: How the model leans on each column that the ledger keeps.
        seen: What it has learned from, by used column.
        value: The metric as estimated on the reference.
        loss: The mean loss of a row as estimated there.
        spread: How far estimates were from the truth there.
    """

    metric: str
    classes: tuple[str, ...] | None
    expects: Calibration | LossModel
    uses: tuple[Use, ...]
    seen: Mapping[str, Seen]
    value: float
    loss: float
    spread: Spread

    @property
    def method(self) -> Method:
        """`confidence` of a classifier, `loss` of a regression."""
        return "confidence" if isinstance(self.expects, Calibration) else "loss"

    def rows(self, frame: pd.DataFrame, answer: np.ndarray) -> Expected:
        """What is to be expected of rows and their answers.

        Args:
            frame: The rows as the ledger has them, conformed (n, columns).
            answer: What was answered, (n,) or (n, n_classes).
        """
        outside = {name: seen.outside(frame[name]) for name, seen in self.seen.items() if name in frame}
        if isinstance(self.expects, Calibration):
            chances = self.expects(answer)
            losses = expected_class_losses(self.metric, chances, answer)
            return Expected(self.metric, answer, chances, losses, outside)
        return Expected(self.metric, answer, None, self.expects(frame, answer), outside)

    def interval(self, value: float, n: int) -> tuple[float, float]:
        """Where the true metric of a window of n rows is, for nine windows of ten, if the world has not changed."""
        margin = self.spread.margin(n) * self._scale(value)
        high = min(1.0, value + margin) if self.metric in BOUNDED else value + margin
        low = value - margin if self.metric == "r2" else max(0.0, value - margin)
        return low, high

    def _scale(self, value: float) -> float:
        """How much more an estimate may err here than on the reference: losses by their size, shares by theirs."""
        if self.metric == "r2":  # what is not explained is the loss, as a share
            return (1 - value) / (1 - self.value) if self.value < 1 else 1.0
        if self.metric not in BOUNDED:
            return value / self.value if self.value > 0 else 1.0
        there, here = (max(v * (1 - v), 0.0) for v in (self.value, value))
        return float(np.sqrt(here / there)) if there > 0 else 1.0


@dataclass(frozen=True)
class Expected:
    """What is to be expected of n answers; of several versions' answers together, too.

    Attributes:
        answer: (n,) or (n, n_classes).
        chances: Calibrated probabilities (n, n_classes); `None` for regression.
        losses: Expected losses (n,).
        outside: By used column, which rows (n,) have values that the version had not seen.
    """

    metric: str
    answer: np.ndarray
    chances: np.ndarray | None
    losses: np.ndarray
    outside: Mapping[str, np.ndarray]

    def value(self) -> float:
        """The metric's expected value; `nan` without rows."""
        if not len(self.losses):
            return float("nan")
        if self.chances is None:
            return number_metric(self.metric, self.losses, self.answer)
        return expected_class_metric(self.metric, self.chances, self.answer)

    def share_outside(self) -> float:
        """Share of the rows with a value in a used column that the version had not seen."""
        if not self.outside or not len(self.losses):
            return 0.0
        return float(np.any(list(self.outside.values()), axis=0).mean())


def join(parts: Sequence[Expected]) -> Expected:
    """Several versions' answers as one."""
    names = sorted({name for part in parts for name in part.outside})
    return Expected(
        parts[0].metric,
        np.concatenate([part.answer for part in parts]),
        None if parts[0].chances is None else np.concatenate([p.chances for p in parts if p.chances is not None]),
        np.concatenate([part.losses for part in parts]),
        {n: np.concatenate([p.outside.get(n, np.zeros(len(p.losses), dtype=bool)) for p in parts]) for n in names},
    )


def make_estimator(
    judged: pd.DataFrame, answer: np.ndarray, learned: pd.DataFrame, schema: Schema, problem: Problem, metric: str,
    uses: Sequence[Use], seed: int,
) -> Estimator | None:  # fmt: skip
    """Learn to estimate a version's quality.

    Args:
        judged: Rows (n, columns) with their targets, in time order where there is time.
        answer: Answers to them by folds of the recipe that had not seen them, (n,) or (n, n_classes).
        learned: All rows that the version learned from.
        schema: Says the features, the target, the classes, and whether there is time.
        problem: Gives the metrics and the loss of a row.
        metric: The metric that decides.
        uses: How the model leans on the columns that the ledger keeps.
        seed: Seed of folds and trees.

    Returns:
        The estimator; `None` where there are too few rows to learn from.
    """
    y = problem.encode_target(judged[schema.target], schema)
    losses = problem.row_losses(metric, y, answer)
    sound = np.isfinite(losses)
    if sound.sum() < LEAST_ROWS:
        return None
    judged, answer, y, losses = judged[sound].reset_index(drop=True), answer[sound], y[sound], losses[sound]
    timed = schema.time is not None
    units = pd.factorize(event_days(judged))[0] if timed else np.arange(len(judged))
    fold = (np.random.default_rng(seed).permutation(int(units.max()) + 1) % FOLDS)[units]
    used = [schema.column(use.name) for use in uses if use.used]
    matter = [schema.column(use.name) for use in uses if use.matters]
    if schema.classes:
        expects, chances = calibrate(answer, y.astype(int), fold)
        there = Expected(metric, answer, chances, expected_class_losses(metric, chances, answer), {})
    else:
        expects, expected = fit_loss_model(judged, matter, answer, losses, fold, seed)
        there = Expected(metric, answer, None, expected, {})

    def error(rows: np.ndarray) -> float:
        part = Expected(
            metric, answer[rows], None if there.chances is None else there.chances[rows], there.losses[rows], {}
        )
        return part.value() - problem.metrics[metric].score(y[rows], answer[rows])

    spread = measure_spread(error, len(y), timed=timed, seed=seed)
    if spread is None:
        return None
    seen = {column.name: _seen(learned[column.name], column) for column in used if column.kind != "datetime"}
    value, loss = there.value(), float(there.losses.mean())
    return Estimator(metric, schema.classes, expects, tuple(uses), seen, value, loss, spread)


def _seen(values: pd.Series, column: Column) -> Seen:
    known = values[values.notna()]
    if column.kind == "category":
        levels = known.astype(str).unique()
        return Seen(levels=frozenset(map(str, levels))) if len(levels) <= MOST_LEVELS else Seen()
    numbers = known.to_numpy(dtype=np.float64)
    return Seen(float(numbers.min()), float(numbers.max())) if len(numbers) else Seen()
