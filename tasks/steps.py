"""The steps of a stream that is followed: noted when one is promoted, judged together before the next one, undone if they are worse."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from tasks.probation import losses_of_both
from treadle.errors import Conflict
from treadle.learning.reference import MOST_JUDGED
from treadle.ledger import Ledger, Row
from treadle.models.answering import open_for_rows
from treadle.models.registry import Registry
from treadle.project import Project
from treadle.retraining.steps import KIND, Followed, State, begun, followed_of, growth_of, judge_steps, may_begin
from treadle.retraining.turn import Turn
from treadle.settings import Settings
from treadle.tables.labeling import late_labels
from treadle.tables.schema import Schema
from treadle.window import answers_of

KNOWN = ("train", "valid", "test", "left_out")


def note_step(turn: Turn, project: Project, ledger: Ledger, version: int, before: int | None) -> None:
    """Write down that a version was promoted as a step, or as one from which the stream is followed."""
    split = turn.read("split.json")
    rows = sum(len(split[part]) for part in KNOWN)
    followed = followed_of(ledger, project, before) if turn.is_step else None
    if followed is not None:
        _note(ledger, project, followed.step(version, rows), "follows", "A step.", turn.moment)
    elif may_begin(project, turn.reason, held=len(split["holdout"])):
        said = f"The stream is followed from version {version} on: labels have shown a loss, and it won its duel."
        _note(ledger, project, begun(version, rows), "follows", said, turn.moment)


def settle_steps(settings: Settings, project: Project, moment: datetime) -> None:
    """Judge the steps together when the next one is due; if they were for the worse, their base is champion again."""
    ledger = Ledger.open(settings)
    champion = ledger.champion(project.name)
    followed = followed_of(ledger, project, champion.version if champion else None)
    if followed is None or followed.version == followed.base or not _next_is_due(ledger, project, followed, moment):
        return
    after, state, said = _judged(settings, ledger, project, followed, moment)
    if state == "worse" and not _undo(settings, ledger, project, followed, said, moment):
        return
    if after != followed or state != "follows":
        _note(ledger, project, after, state, said, moment)


def _judged(
    settings: Settings, ledger: Ledger, project: Project, followed: Followed, moment: datetime
) -> tuple[Followed, State, str]:
    schema = Schema.load(project.folder / "schema.json")
    base = open_for_rows(settings, ledger, project, schema, followed.base)
    if isinstance(base, str):
        return followed, "over", f"The stream is followed no more: {base}"
    rows = [row for row in _served(ledger, project, followed.base, moment) if row.version > followed.base]
    now, then, days = losses_of_both(rows, schema, project, base)
    timed = days if schema.time else None
    return judge_steps(followed, now, then, timed, first=project.watch.min_labelled, seed=project.split.seed)


def served_since_base(turn: Turn, project: Project, schema: Schema) -> tuple[pd.DataFrame, np.ndarray] | None:
    """The labelled rows that were served since the base of the steps, and the answers; `None` where labels came with the table."""
    ledger = Ledger.open(Settings())
    champion = ledger.champion(project.name)
    followed = followed_of(ledger, project, champion.version if champion else None)
    rows = _served(ledger, project, followed.base, turn.moment, MOST_JUDGED) if followed else []
    if not rows:
        return None
    empty = pd.DataFrame({column.name: pd.Series(dtype="object") for column in schema.columns})
    return late_labels(rows, schema, empty).frame, answers_of(rows, schema)


def _next_is_due(ledger: Ledger, project: Project, followed: Followed, moment: datetime) -> bool:
    newest, growth = ledger.version(project.name, followed.version), growth_of(project)
    if newest is None or growth is None:
        return False
    return ledger.count_labelled_since(project.name, newest.data_until, until=moment) >= followed.needed(growth)


def _served(
    ledger: Ledger, project: Project, base: int, moment: datetime, newest: int | None = None
) -> list[Row]:  # fmt: skip
    """The labelled rows since all that a version has learned from, whoever answered them; oldest first."""
    version = ledger.version(project.name, base)
    until = version.data_until if version else None
    by = None if until is None else base  # it has learned from no row with a time, so every row is newer
    return ledger.labelled(project.name, until=moment, version=by, newest=newest, or_after=until)


def _undo(
    settings: Settings, ledger: Ledger, project: Project, followed: Followed, said: str, moment: datetime
) -> bool:
    """Put the base online again; not where another champion came meanwhile."""
    reason = f"{said} Version {followed.base} is champion again."
    try:
        Registry(settings, ledger).promote(
            project.name, followed.base, followed.version, verdict="rollback", reason=reason, at=moment, who="watch"
        )
    except Conflict:
        return False
    ledger.record_decision(project.name, "rolled-back", reason, dict(followed.figures("worse")), moment)
    return True


def _note(
    ledger: Ledger, project: Project, followed: Followed, state: State, said: str, moment: datetime
) -> None:  # fmt: skip
    ledger.record_decision(project.name, KIND, said, dict(followed.figures(state)), moment)
