"""How large the loss of a row is to be expected, from its columns and its answer: a small forest, kept as ONNX.

Source: direct loss estimation (DLE), NannyML's documentation, "Estimation of Performance of the Monitored Model". A
forest of large leaves answers with means of losses that were seen, so it neither turns negative nor runs away; its
deviations from the mean loss are shrunk to what they were worth on rows that it had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.families import load_family
from treadle.models.onnx_export import frame_to_inputs, run_onnx
from treadle.problems import load_problem
from treadle.tables.schema import Column, Schema

ANSWER, LOSS = "__answer__", "__loss__"
PARAMS = {"trees": 50, "leaves": 64, "min_leaf": 20, "features": 0.7}


@dataclass(frozen=True)
class LossModel:
    """A forest and what it is worth.

    Attributes:
        onnx: The forest, behind its encoder.
        columns: Its inputs.
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
        said = run_onnx(self.onnx, frame_to_inputs(frame.assign(**{ANSWER: answer}), self.columns)).ravel()
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
    schema = Schema(
        columns=(*columns, Column(name=ANSWER, kind="number"), Column(name=LOSS, kind="number")), target=LOSS
    )
    rows = frame[[c.name for c in columns]].assign(**{ANSWER: answer})
    mean = float(losses.mean())
    said = np.empty(len(losses))
    for number in np.unique(fold):
        out = fold == number
        said[out] = _fit(rows[~out], losses[~out], schema, seed).predict(rows[out]) if (~out).any() else mean
    worth = _worth(said - mean, losses - mean)
    forest = _fit(rows, losses, schema, seed)
    onnx = load_family("forest").to_onnx(forest, schema).SerializeToString()
    return LossModel(onnx, schema.features, mean, worth), mean + worth * (said - mean)


def _fit(rows: pd.DataFrame, losses: np.ndarray, schema: Schema, seed: int) -> Any:
    family, problem = load_family("forest"), load_problem("tabular-regression")
    return family.fit(rows, losses, dict(PARAMS), problem=problem, schema=schema, metric="rmse", seed=seed).model


def _worth(said: np.ndarray, came: np.ndarray) -> float:
    """The slope by which deviations should be shrunk: 1 where they came true, 0 where they were noise."""
    spread = float(np.sum(said**2))
    return float(np.clip(np.sum(said * came) / spread, 0.0, 1.0)) if spread > 0 else 0.0
