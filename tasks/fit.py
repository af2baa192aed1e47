"""Fit: the rehearsal, the best recipe fitted without the rows that will judge it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tasks.history import history_of
from tasks.step import step
from tasks.steps import refit_to_update
from treadle.families.storage import load_model, save_model
from treadle.learning.recipe import fit_recipe, update_recipe
from treadle.ledger import Ledger
from treadle.models.registry import Registry
from treadle.models.tracking import log_params, set_tags
from treadle.project import Project, load_project
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
    model = _update(turn, project, schema, frame, best)
    if model is None:
        model = fit_recipe(project, schema, frame, best.family, best.params, history_of(turn))
    save_model(model, path)
    log_params(Settings(), turn.run_id, {"family": best.family} | best.params)
    return Rehearsal(str(path), best.family, best.params)


def _update(turn: Turn, project: Project, schema: Schema, frame: pd.DataFrame, best: Best) -> Any | None:
    """The last refit of a followed stream after it has learned further; `None` where the model has to be fitted anew."""
    settings = Settings()
    refit, updated = refit_to_update(turn, project), None
    if refit is not None:
        with TemporaryDirectory() as folder:
            kept = Registry(settings, Ledger.open(settings)).fetch_model(project.name, refit, Path(folder))
            before = None if kept is None else load_model(kept)
        updated = update_recipe(project, schema, frame, best.family, best.params, history_of(turn), before)
    turn.write("fit.json", {"update_of": None if updated is None else refit})
    if updated is not None:
        set_tags(settings, turn.run_id, {"update_of": f"version {refit}"})
    return updated


def parts_of(turn: Turn, rows: Rows, *parts: str) -> pd.DataFrame:
    """The rows of the named parts of the split, in the snapshot's order."""
    split = turn.read("split.json")
    wanted = {row for part in parts for row in split[part]}
    frame = load_snapshot(rows.path)
    return frame[frame[ROW].isin(wanted)].reset_index(drop=True)
