"""Probation: a new champion against the one before it, by the labels that come in; rolled back by itself when it is worse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.errors import Conflict
from treadle.learning.losses import losses_of_answers
from treadle.ledger import Ledger, Promotion, Row
from treadle.models.answering import Answering, open_for_rows
from treadle.models.registry import Registry
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.promotion.probation import Look, look_back
from treadle.retraining.steps import KIND as FOLLOWED
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings
from treadle.tables.labeling import event_days, late_labels
from treadle.tables.schema import Schema

KIND = "probation"
BY_HAND = "by-hand"  # the verdict of a promotion that a person made whatever the gate said


@step("follow probation", retries=2)
def follow_probation(name: str, at: str | None = None) -> dict[str, Any]:
    """Compare the champion with the one before it on every labelled prediction since the swap, and act on the end.

    Returns:
        `probation`: the look's figures; `None` when the champion is not on probation.
    """
    settings = Settings()
    look = settle_swap(settings, load_project(name, settings), parse_moment(at) or datetime.now(UTC))
    if look is None:
        return {"probation": None}
    create_markdown_artifact(
        key=f"{name}-probation", markdown=f"**{look.state}.** {look.reason}", description=look.reason
    )
    return {"probation": dict(look.figures())}


def settle_swap(settings: Settings, project: Project, moment: datetime) -> Look | None:
    """Look at the swap that made the champion; if its probation has ended, say so in the ledger, and undo a bad one.

    Returns:
        The look; `None` when the champion is not on probation.
    """
    ledger = Ledger.open(settings)
    swap = ledger.last_promotion(project.name)
    if swap is None or not _is_open(ledger, project, swap):
        return None
    look = _look(settings, ledger, project, swap, moment)
    if look.state == "failed":
        return _roll_back(settings, ledger, project.name, swap, look, moment)
    if look.state != "running":
        ledger.record_decision(project.name, KIND, look.reason, {**look.figures(), "fence": swap.fence}, moment)
    return look


def _is_open(ledger: Ledger, project: Project, swap: Promotion) -> bool:
    """Whether the champion came by a swap that nobody has judged yet; what a rollback restored is not tried again.

    The steps of a stream that is followed are judged together (`tasks/steps.py`).
    """
    if swap.from_version is None or swap.verdict in ("rollback", FOLLOWED) or project.promote.probation.labels == 0:
        return False
    ended = ledger.last_decisions(project.name, 20, kind=KIND)
    return all(decision.figures.get("fence") != swap.fence for decision in ended)


def _look(settings: Settings, ledger: Ledger, project: Project, swap: Promotion, moment: datetime) -> Look:
    schema = Schema.load(project.folder / "schema.json")
    before = int(swap.from_version or 0)
    most = project.promote.probation.labels
    rows = ledger.labelled_after(project.name, swap.version, swap.at, moment, most)
    served = open_for_rows(settings, ledger, project, schema, before)
    if isinstance(served, str):
        return Look("unknown", f"No probation of version {swap.version}: {served}", swap.version, before, len(rows))
    now, then, days = losses_of_both(rows, schema, project, served)
    return look_back(
        swap.version, before, now, then, days if schema.time else None,
        first=min(project.watch.min_labelled, most), most=most,
        over=moment - swap.at >= project.promote.probation.time, seed=project.split.seed,
    )  # fmt: skip


def losses_of_both(
    rows: list[Row], schema: Schema, project: Project, served: Answering
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The champion's losses, by what was answered then; those of the version before, by its ONNX now; and the days (n,)."""
    if not rows:
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    empty = pd.DataFrame({c.name: pd.Series(dtype="object") for c in schema.columns})
    frame = late_labels(rows, schema, empty).frame
    now = losses_of_answers(metric, [row.label for row in rows], [row.answer for row in rows])
    y = problem.encode_target(frame[schema.target], schema)
    return now, problem.row_losses(metric, y, served.answer(frame)), event_days(frame)


def _roll_back(settings: Settings, ledger: Ledger, name: str, swap: Promotion, look: Look, moment: datetime) -> Look:
    """Put the version before online again, unless a person had put this one there; that is only said."""
    if swap.verdict == BY_HAND:
        said = f"{look.reason} A person promoted it, so it stays: `treadle rollback {name}` undoes that."
        ledger.record_decision(name, KIND, said, {**look.figures(), "fence": swap.fence}, moment)
        return replace(look, reason=said)
    said = f"{look.reason} Version {look.before} is champion again."
    try:
        Registry(settings, ledger).promote(
            name, look.before, look.version, verdict="rollback", reason=said, figures=dict(look.figures()), at=moment,
            who="watch",
        )  # fmt: skip
    except Conflict as error:
        return replace(look, state="running", reason=f"{look.reason} Nothing was rolled back: {error}")
    ledger.record_decision(name, "rolled-back", said, {**look.figures(), "fence": swap.fence}, moment)
    return replace(look, reason=said)
