"""What a family is: something that can be trained on a table and becomes ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from treadle.errors import BadData, BadProject, nearest
from treadle.problems import Problem
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import onnx
    import optuna
    from sklearn.pipeline import Pipeline

Report = Callable[[int, float], None]
"""Takes a step and the metric on the valid rows so far; may raise `optuna.TrialPruned`."""


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline (encoder, estimator), and the parameters that fit it again without valid rows."""

    model: Pipeline
    params: dict[str, Any]


class Family(Protocol):
    """One kind of model.

    Attributes:
        name: As project.yaml has it.
        problems: The problems that it learns, by name.
    """

    name: str
    problems: frozenset[str]

    def defaults(self, problem: Problem) -> dict[str, Any]:
        """Parameters that a practitioner would start from."""
        ...

    def search_space(self, trial: optuna.Trial, problem: Problem) -> dict[str, Any]:
        """Parameters for one trial."""
        ...

    def fit(
        self,
        X: pd.DataFrame,
        y: np.ndarray,
        params: dict[str, Any],
        *,
        problem: Problem,
        schema: Schema,
        metric: str,
        valid: tuple[pd.DataFrame, np.ndarray] | None = None,
        seed: int = 0,
        report: Report | None = None,
        weights: np.ndarray | None = None,
    ) -> Fitted:
        """Fit on conformed rows (n, columns) and an encoded target (n,); same input and seed, same model.

        Args:
            X: The rows.
            y: Their targets.
            params: All of the family's parameters.
            problem: Knows the metrics.
            schema: Knows the columns.
            metric: The metric by which valid rows judge.
            valid: Rows and targets that judge while it is fitted, and say when to stop.
            seed: Of all chance in it.
            report: Told of each step.
            weights: What each row counts (n,), 1 on average; all alike when left out.

        Raises:
            BadData: There are no rows, or a class is missing among them.
            BadProject: A parameter is not one of this family's.
        """
        ...

    def sketch(self, params: dict[str, Any]) -> dict[str, Any]:
        """A cheaper recipe that tells good rows to learn from as this one does; for back-tests with many fits."""
        ...

    def to_onnx(self, model: Pipeline, schema: Schema) -> onnx.ModelProto:
        """The whole pipeline as ONNX: raw columns in, `prediction` (n,) or `probabilities` (n, n_classes) out."""
        ...


@runtime_checkable
class Updating(Protocol):
    """A family whose models learn further without being fitted anew."""

    def update(
        self, model: Pipeline, X: pd.DataFrame, y: np.ndarray, params: dict[str, Any], *, schema: Schema, seed: int = 0
    ) -> Pipeline:
        """The model after it has learned from some rows what it still gets wrong in them; the one that is given stays as it is.

        Args:
            model: Fitted by this family with `params`; its encoder is kept.
            X: Conformed rows (n, columns). A class may be missing among them.
            y: Their encoded targets (n,).
            params: All of the family's parameters.
            schema: Knows the columns.
            seed: Of all chance in it.

        Raises:
            BadData: There are no rows.
        """
        ...


def check_params(family: str, params: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a parameter that the family does not have.

    Raises:
        BadProject: The message names it and the nearest.
    """
    allowed = sorted(known)
    for name in params:
        if name not in allowed:
            raise BadProject(
                f"The family '{family}' has no parameter '{name}'.{nearest(name, allowed)} Known: {', '.join(allowed)}."
            )


def check_rows(y: np.ndarray, schema: Schema) -> None:
    """Refuse rows that no classifier or regressor can learn from.

    Raises:
        BadData: There are none, or a class of the schema is not among them.
    """
    if not len(y):
        raise BadData("There are no rows to learn from.")
    if schema.classes:
        absent = [name for code, name in enumerate(schema.classes) if not (y == code).any()]
        if absent:
            raise BadData(f"No row to learn from has the class '{absent[0]}'; add some, or take it out of schema.json.")
