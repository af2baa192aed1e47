"""The course that every policy walks: the stream, the recipe of each fit, and the model that all of them begin with.

The recipe is fixed, the first of the project's families with its usual parameters, so that policies differ in when and
on what they learn and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from treadle.cost import meter
from treadle.families import load_family
from treadle.learning.history import History
from treadle.learning.recipe import fit_recipe, update_recipe
from treadle.learning.split import split_rows
from treadle.problems import Problem, load_problem, pick_metric
from treadle.project import Project
from treadle.replay.stream import Stream
from treadle.tables.data import AT, ROW
from treadle.tables.labeling import event_days

LOSSES = {"auc": "log_loss", "f1": "log_loss", "r2": "rmse"}
"""Metrics that a small window may not have at all, and the error that stands for them."""


@dataclass(frozen=True)
class Version:
    """A model and the rows that it learned from.

    Attributes:
        number: 1 for the first.
        model: The fitted pipeline.
        learned: Positions in the stream, in time order.
    """

    number: int
    model: Any
    learned: np.ndarray


@dataclass(frozen=True)
class Course:
    """What all policies share.

    Attributes:
        project: The rules and the seed.
        stream: The rows.
        problem: Knows targets, answers and losses.
        metric: The project's metric.
        family: What is fitted.
        params: Its parameters, the same in every fit.
        holdout: Row ids that the platform holds out for good.
        first: The version that every policy begins with.
        first_cpu_seconds: What it cost.
        y: Encoded targets (n,); NaN where there is no label.
        days: Day numbers (n,).
        may_learn: Whether a version may ever learn from a row (n,): it is not in the frozen holdout.
    """

    project: Project
    stream: Stream
    problem: Problem
    metric: str
    family: str
    params: dict[str, Any]
    holdout: frozenset[str]
    first: Version
    first_cpu_seconds: float
    y: np.ndarray
    days: np.ndarray
    may_learn: np.ndarray
    _fitted: dict[bytes, tuple[Any, float]] = field(default_factory=dict)

    @property
    def error_name(self) -> str:
        """The error that is reported: the project's metric, or what stands for it; lower is better."""
        return "error_rate" if self.metric == "accuracy" else LOSSES.get(self.metric, self.metric)

    def fit(self, rows: np.ndarray, history: History) -> Any:
        """Fit the recipe on rows by position; the history says what each of them counts.

        Raises:
            BadData: A class is missing among them.
        """
        return self.fit_frame(self.stream.frame.iloc[rows], history)

    def fit_frame(self, frame: pd.DataFrame, history: History) -> Any:
        """The same on rows of the stream as a table."""
        return fit_recipe(self.project, self.stream.schema, frame, self.family, self.params, history)

    def update(self, model: Any, rows: np.ndarray, history: History) -> Any | None:
        """A model of the recipe after it has learned further from the newest of some rows; `None` where it has to be fitted anew."""
        frame = self.stream.frame.iloc[rows]
        return update_recipe(self.project, self.stream.schema, frame, self.family, self.params, history, model)

    def fit_once(self, rows: np.ndarray) -> tuple[Any, float]:
        """Fit on rows by position; policies that learn from the same rows at the same moment share the work.

        Returns:
            The model, and the CPU seconds of its fit, which each of them is charged.
        """
        key = rows.tobytes()
        if key not in self._fitted:
            self._fitted.clear()  # of an earlier moment
            with meter() as spent:
                model = self.fit(rows, History())
            self._fitted[key] = model, spent.cpu_seconds
        return self._fitted[key]

    def predict(self, model: Any, rows: slice | np.ndarray) -> np.ndarray:
        """Answers to rows by position, (n,) or (n, n_classes)."""
        return self.problem.predict(model, self.stream.frame.iloc[rows])

    def losses(self, rows: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The losses (n,) that stand for the project's metric, as the watch judges by."""
        return self.problem.row_losses(self.metric, self.y[rows], answers)

    def error(self, losses: np.ndarray) -> float:
        """The reported error of some losses; NaN of none."""
        known = losses[np.isfinite(losses)]
        if not len(known):
            return float("nan")
        mean = float(known.mean())
        return float(np.sqrt(mean)) if self.error_name == "rmse" else mean


def lay_out(project: Project, stream: Stream) -> Course:
    """Split the rows before the start as the platform splits a first run, and fit the model that all begin with.

    Raises:
        BadData: The rows cannot be split, or a class is missing among them.
    """
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    name = project.train.families[0]
    params = load_family(name).defaults(problem)
    known = stream.known(stream.start)
    table = stream.frame.iloc[known]
    parts = split_rows(table, project, stream.schema, frozen=None, seen=None)
    learned = within_history(project, stream, known[~table[ROW].isin(parts.holdout).to_numpy()])
    with meter() as spent:
        model = fit_recipe(project, stream.schema, stream.frame.iloc[learned], name, params, History())
    return Course(
        project=_undecided(project),
        stream=stream,
        problem=problem,
        metric=metric,
        family=name,
        params=params,
        holdout=frozenset(parts.holdout),
        first=Version(1, model, learned),
        first_cpu_seconds=spent.cpu_seconds,
        y=_targets(problem, stream),
        days=event_days(stream.frame),
        may_learn=~stream.frame[ROW].isin(parts.holdout).to_numpy(),
    )


def _undecided(project: Project) -> Project:
    """The project without its choice of a policy: here each policy decides for itself."""
    return project.model_copy(update={"retrain": project.retrain.model_copy(update={"policy": "treadle"})})


def _targets(problem: Problem, stream: Stream) -> np.ndarray:
    y = np.full(len(stream.frame), np.nan)
    labelled = stream.labelled
    y[labelled] = problem.encode_target(stream.frame[stream.schema.target][labelled], stream.schema)
    return y


def within_history(project: Project, stream: Stream, known: np.ndarray) -> np.ndarray:
    """Of the known rows those that are young enough, where `retrain.history` is a duration; without a back-test, all."""
    rule = project.retrain.history
    if isinstance(rule, str) or not len(known):
        return known
    return known[History(window=rule).within(stream.frame[AT].to_numpy()[known])]
