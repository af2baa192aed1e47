"""Fit: the rehearsal, the best recipe fitted without the rows that will judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.history import history_of
from tasks.step import step
from treadle.families.storage import save_model
from treadle.learning.recipe import fit_recipe
from treadle.models.tracking import log_params
from treadle.project import load_project
from treadle.retraining.turn import Best, Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import ROW, load_snapshot
from treadle.tables.schema import Schema


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


def parts_of(turn: Turn, rows: Rows, *parts: str) -> pd.DataFrame:
    """The rows of the named parts of the split, in the snapshot's order."""
    split = turn.read("split.json")
    wanted = {row for part in parts for row in split[part]}
    frame = load_snapshot(rows.path)
    return frame[frame[ROW].isin(wanted)].reset_index(drop=True)
