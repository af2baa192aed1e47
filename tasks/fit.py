"""Fit: the rehearsal, the best recipe fitted without the rows that will judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.history import history_of
from tasks.step import step
from treadle.data import AT, ROW, load_snapshot
from treadle.families import load_family
from treadle.families.storage import save_model
from treadle.history import History
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.schema import Schema
from treadle.settings import Settings
from treadle.tracking import log_params
from treadle.turn import Best, Rows, Turn


@dataclass(frozen=True)
class Rehearsal:
    """A fitted model on disk: its skops file, its family, and the parameters that reproduce it."""

    path: str
    family: str
    params: dict[str, Any]


@step("fit model")
def fit_model(turn: Turn, rows: Rows, best: Best) -> Rehearsal:
    """Fit the best recipe on the train and valid rows; the test rows and the holdout stay unseen."""
    project = load_project(turn.project, Settings())
    schema = Schema.load(turn.path("schema.json"))
    frame = parts_of(turn, rows, "train", "valid")
    path = turn.path("rehearsal.skops")
    save_model(fit_recipe(project, schema, frame, best.family, best.params, history_of(turn)), path)
    log_params(Settings(), turn.run_id, {"family": best.family} | best.params)
    return Rehearsal(str(path), best.family, best.params)


def fit_recipe(
    project: Project, schema: Schema, frame: pd.DataFrame, family: str, params: dict[str, Any], history: History
) -> Any:
    """Fit one family with fixed parameters on all rows of `frame`; the history says what each of them counts."""
    problem = load_problem(project.problem)
    target: np.ndarray = problem.encode_target(frame[schema.target], schema)
    weights = history.weights(frame[AT].to_numpy())
    how: dict[str, Any] = {} if weights is None else {"weights": weights}
    fitted = load_family(family).fit(
        frame,
        target,
        params,
        problem=problem,
        schema=schema,
        metric=pick_metric(problem, project.promote.metric),
        valid=None,
        seed=project.split.seed,
        report=None,
        **how,
    )
    return fitted.model


def parts_of(turn: Turn, rows: Rows, *parts: str) -> pd.DataFrame:
    """The rows of the named parts of the split, in the snapshot's order."""
    split = turn.read("split.json")
    wanted = {row for part in parts for row in split[part]}
    frame = load_snapshot(rows.path)
    return frame[frame[ROW].isin(wanted)].reset_index(drop=True)
