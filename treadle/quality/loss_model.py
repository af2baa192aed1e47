"""How large the loss of a row is to be expected, from its columns and its answer: a small forest, kept as ONNX.

Source: direct loss estimation (DLE), NannyML's documentation, "Estimation of Performance of the Monitored Model". A
forest of large leaves answers with means of losses that were seen, so it neither turns negative nor runs away; its
deviations from the mean loss are shrunk to what they were worth on rows that it had not seen.

Of a time it sees the hour and the weekday alone. A month that the reference saw once is a place in time and no season: what
went wrong in its last weeks would be expected of all rows to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.encoder import as_values
from treadle.families import load_family
from treadle.models.onnx_export import frame_to_inputs, run_onnx
from treadle.problems import load_problem
from treadle.tables.schema import Column, Schema

ANSWER, LOSS = "__answer__", "__loss__"
HOUR, WEEKDAY = "__hour__", "__weekday__"
"""Begin the names of what is seen of a time."""
PARAMS = {"trees": 50, "leaves": 64, "min_leaf": 20, "features": 0.7}


@dataclass(frozen=True)
class LossModel:
    """A forest and what it is worth.

    Attributes:
        onnx: The forest, behind its encoder.
        columns: Its inputs: columns of the rows, hours and weekdays of their times, and the answer.
        mean: The mean loss that it was learned from.
        worth: The share of its deviations from the mean that unseen rows bore out, 0 to 1.
    """

    onnx: bytes
    columns: tuple[Column, ...]
    mean: float
    worth: float

    def __call__(self, frame: pd.DataFrame, answer: np.ndarray) -> np.ndarray:
        """The expected loss of each row (n,)."""
        if self.worth == 0.0:
            return np.full(len(answer), self.mean)
        known = frame.assign(**{ANSWER: answer}, **_parts_of(frame, self.columns))
        said = run_onnx(self.onnx, frame_to_inputs(known, self.columns)).ravel()
        return self.mean + self.worth * (said - self.mean)


def fit_loss_model(
    frame: pd.DataFrame, columns: Sequence[Column], answer: np.ndarray, losses: np.ndarray, fold: np.ndarray, seed: int
) -> tuple[LossModel, np.ndarray]:
    """Fit the forest.

    Args:
        frame: Rows (n, columns) that the model had not seen.
        columns: Those of them that matter.
        answer: Its answers (n,).
        losses: Their losses (n,), finite.
        fold: The fold of each row (n,).
        seed: Seed of the trees.

    Returns:
        The model; and for each row the loss that one expected which did not know the row's fold.
    """
    inputs = [seen for column in columns for seen in _inputs(column)]
    schema = Schema(
        columns=(*inputs, Column(name=ANSWER, kind="number"), Column(name=LOSS, kind="number")), target=LOSS
    )
    rows = frame.assign(**_parts_of(frame, inputs))[[c.name for c in inputs]].assign(**{ANSWER: answer})
    mean = float(losses.mean())
    said = np.empty(len(losses))
    for number in np.unique(fold):
        out = fold == number
        said[out] = _fit(rows[~out], losses[~out], schema, seed).predict(rows[out]) if (~out).any() else mean
    worth = _worth(said - mean, losses - mean)
    forest = _fit(rows, losses, schema, seed)
    onnx = load_family("forest").to_onnx(forest, schema).SerializeToString()
    return LossModel(onnx, schema.features, mean, worth), mean + worth * (said - mean)


def _inputs(column: Column) -> list[Column]:
    """The column as the forest sees it."""
    if column.kind != "datetime":
        return [column]
    return [Column(name=f"{part}{column.name}", kind="number") for part in (HOUR, WEEKDAY)]


def _parts_of(frame: pd.DataFrame, inputs: Sequence[Column]) -> dict[str, np.ndarray]:
    """Hours and weekdays (n,), in UTC, that are among the inputs, from the times of the frame."""
    parts = {}
    for name in (column.name for column in inputs):
        if name.startswith(HOUR):
            parts[name] = as_values(frame[name.removeprefix(HOUR)], "datetime") // 3600 % 24
        elif name.startswith(WEEKDAY):  # the epoch began on a Thursday
            parts[name] = (as_values(frame[name.removeprefix(WEEKDAY)], "datetime") // 86_400 + 3) % 7
    return parts


def _fit(rows: pd.DataFrame, losses: np.ndarray, schema: Schema, seed: int) -> Any:
    family, problem = load_family("forest"), load_problem("tabular-regression")
    return family.fit(rows, losses, dict(PARAMS), problem=problem, schema=schema, metric="rmse", seed=seed).model


def _worth(said: np.ndarray, came: np.ndarray) -> float:
    """The slope by which deviations should be shrunk: 1 where they came true, 0 where they were noise."""
    spread = float(np.sum(said**2))
    return float(np.clip(np.sum(said * came) / spread, 0.0, 1.0)) if spread > 0 else 0.0
