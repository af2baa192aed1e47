"""The steps of a stream that is followed: noted when one is promoted, judged together before the next one, undone if they are worse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.probation import losses_of_both
from tasks.step import step
from treadle.errors import Conflict
from treadle.learning.recipe import can_update
from treadle.learning.reference import MOST_JUDGED
from treadle.ledger import Ledger, Row
from treadle.models.answering import open_for_rows
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.project import Project, load_project
from treadle.retraining.doubt import Fresh, fresh_for_step
from treadle.retraining.steps import KIND, Followed, State, begun, followed_now, growth_of, judge_steps, may_begin
from treadle.retraining.turn import Turn, parse_moment
from treadle.settings import Settings
from treadle.tables.labeling import late_labels
from treadle.tables.schema import Schema
from treadle.window import answers_of

KNOWN = ("train", "valid", "test", "left_out")


def followed_with(turn: Turn, project: Project, followed: Followed | None, version: int) -> Followed | None:
    """How the stream is followed once a version is champion: a step further, from it on, or not at all.

    What wins its duel while the stream is followed is one from which it is followed, whatever it was asked for.

    Args:
        turn: The train run that made it.
        project: The rules.
        followed: How the stream is followed up to the champion of now.
        version: The version.
    """
    split = turn.read("split.json")
    rows = _known_rows(split)
    if turn.is_step and followed is not None:
        return followed.step(version, rows, is_update=turn.updated is not None)
    asking = turn.reason if followed is None else "quality-loss"
    if not may_begin(project, asking, held=len(split["holdout"])):
        return None
    made = Ledger.open(Settings()).version(project.name, version)
    updates = made is not None and can_update(Schema.load(turn.path("schema.json")), made.family)
    return begun(version, rows, updates=updates)


def refit_to_update(turn: Turn, project: Project) -> int | None:
    """The version that a step goes on from; `None` where it is fitted anew, or the turn is no step.

    It is fitted anew once the rows have grown enough since the last refit, and where rows that the refit has learned from are gone:
    they were erased, or whoever labelled them is in doubt by now.
    """
    settings, growth = Settings(), growth_of(project)
    followed = followed_now(Ledger.open(settings), project) if turn.is_step else None
    if followed is None or growth is None:
        return None
    split = turn.read("split.json")
    if not followed.may_update(_known_rows(split), growth):
        return None
    there = {row for part in (*KNOWN, "holdout") for row in split[part]}
    return followed.refit if Evidence(settings, project.name).seen(followed.refit) <= there else None


def _known_rows(split: dict[str, list[str]]) -> int:
    """Rows that a version knows: those that it learned from, judged by or left out as too old."""
    return sum(len(split[part]) for part in KNOWN)


def note_step(turn: Turn, ledger: Ledger, followed: Followed) -> None:
    """Write down that a version was promoted as a step, or as one from which the stream is followed."""
    said = f"{'It won its duel.' if followed.version == followed.base else 'A step.'} {followed.said}"
    ledger.record_decision(turn.project, KIND, said, dict(followed.figures()), turn.moment)


@step("settle steps", retries=2)
def settle_steps(name: str, at: str | None = None) -> dict[str, Any]:
    """Judge the steps of a stream that is followed, once the next one is due, and undo them if they were for the worse.

    Returns:
        `followed`: `state` (`follows`, `pays`, `over` or `worse`), `reason`, and the figures; `None` where no stream is followed.
    """
    settings = Settings()
    found = judge_followed(settings, load_project(name, settings), parse_moment(at) or datetime.now(UTC))
    if found is None:
        return {"followed": None}
    create_markdown_artifact(
        key=f"{name}-steps", markdown=f"**{found['state']}.** {found['reason']}", description=found["reason"]
    )
    return {"followed": found}


def judge_followed(settings: Settings, project: Project, moment: datetime) -> dict[str, Any] | None:
    """Judge the steps together when the next one is due; if they were for the worse, their base is champion again.

    Returns:
        How the stream is followed from now on, and what was found; `None` where no stream is followed.
    """
    ledger = Ledger.open(settings)
    followed = followed_now(ledger, project)
    if followed is None:
        return None
    fresh, growth = fresh_for_step(ledger, project, followed, moment), growth_of(project)
    if followed.version == followed.base or growth is None or fresh.labels < followed.needed(growth):
        return _told(followed, "follows", f"{followed.said} {fresh.said}".rstrip())
    after, state, said = _judged(settings, ledger, project, followed, fresh, moment)
    if state == "worse":
        said = f"{said} Version {followed.base} is champion again, and the stream is followed no more."
        if not _undo(settings, ledger, project, followed, said, moment):
            return None
    if after != followed or state != "follows":
        ledger.record_decision(project.name, KIND, said, dict(after.figures(state)), moment)
    return _told(after, state, f"{said} {fresh.said}".rstrip())


def _told(followed: Followed, state: State, said: str) -> dict[str, Any]:
    return {"reason": said, **followed.figures(state)}


def _judged(
    settings: Settings, ledger: Ledger, project: Project, followed: Followed, fresh: Fresh, moment: datetime
) -> tuple[Followed, State, str]:
    """The steps, judged by labels of keys that are not in doubt."""
    schema = Schema.load(project.folder / "schema.json")
    base = open_for_rows(settings, ledger, project, schema, followed.base)
    if isinstance(base, str):
        return followed, "over", f"The stream is followed no more: {base}"
    served = _served(ledger, project, followed.base, moment)
    rows = [row for row in served if row.version > followed.base and row.id not in fresh.left_out]
    known = ledger.givers(project.name)
    givers = np.array([known.get(row.id, "") for row in rows], dtype=object)
    now, then, days = losses_of_both(rows, schema, project, base)
    timed = days if schema.time else None
    return judge_steps(
        followed, now, then, timed, first=project.watch.min_labelled, seed=project.split.seed, givers=givers
    )


def served_since_base(turn: Turn, project: Project, schema: Schema) -> tuple[pd.DataFrame, np.ndarray] | None:
    """The labelled rows that were served since the base of the steps, and the answers; `None` where labels came with the table."""
    ledger = Ledger.open(Settings())
    followed = followed_now(ledger, project)
    if followed is None:
        return None
    doubted = fresh_for_step(ledger, project, followed, turn.moment).left_out
    rows = [row for row in _served(ledger, project, followed.base, turn.moment, MOST_JUDGED) if row.id not in doubted]
    if not rows:
        return None
    empty = pd.DataFrame({column.name: pd.Series(dtype="object") for column in schema.columns})
    return late_labels(rows, schema, empty).frame, answers_of(rows, schema)


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
    figures = dict(followed.figures("worse"))
    try:
        Registry(settings, ledger).promote(
            project.name, followed.base, followed.version, verdict="rollback", reason=said, at=moment, who="watch"
        )
    except Conflict:
        return False
    ledger.record_decision(project.name, "rolled-back", said, figures, moment)
    return True
