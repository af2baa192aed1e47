"""Label: suspicious labels are set aside, late ones join the table, and rules fill what has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.ledger import Ledger
from treadle.ledger.set_aside import Batch, batches
from treadle.privacy import unknown_where_redacted
from treadle.project import Project, load_project
from treadle.retraining.doubt import NOTHING, Fresh, fresh_for_step
from treadle.retraining.steps import followed_now
from treadle.retraining.suspicion import Examined, examine
from treadle.retraining.turn import Rows, Turn, parse_moment
from treadle.settings import Settings
from treadle.tables.data import SOURCE, digest, load_snapshot, snapshot
from treadle.tables.labeling import apply_rules, late_labels
from treadle.tables.schema import Schema


@step("examine labels", retries=2)
def examine_labels(name: str, at: str | None = None) -> dict[str, Any]:
    """Set suspicious labels aside before anything is judged by them.

    Returns:
        `set_aside`: how many labels this look set aside, how many are aside in all, and why.
    """
    settings = Settings()
    ledger = Ledger.open(settings)
    examined = examine(ledger, load_project(name, settings), parse_moment(at) or datetime.now(UTC))
    aside = batches(ledger, name)
    if aside:
        _show_aside(name, examined, aside)
    in_all = sum(batch.labels for batch in aside)
    return {"set_aside": {"now": examined.labels, "in_all": in_all, "reasons": list(examined.reasons)}}


def _show_aside(name: str, examined: Examined, aside: list[Batch]) -> None:
    create_table_artifact(
        key=f"{name}-set-aside",
        table=[{"batch": b.batch, "key": b.key_id or "none", "labels": b.labels, "why": b.reason} for b in aside],
        description=f"{examined.labels} labels were set aside now. `treadle labels release {name}` or `drop` settles them.",
    )


def _fresh(turn: Turn, ledger: Ledger, project: Project) -> Fresh:
    """What is left out of a step, which nobody compares; of other turns nothing."""
    followed = followed_now(ledger, project) if turn.is_step else None
    return NOTHING if followed is None else fresh_for_step(ledger, project, followed, turn.moment)


@step("label data", retries=2)
def label_data(turn: Turn, rows: Rows) -> Rows:
    """Join the labels that came back by the turn's event time, then let the project's rules fill the gaps.

    Returns:
        A snapshot of the labelled rows; each row says where its label came from.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = Schema.load(turn.path("schema.json"))
    table = load_snapshot(rows.path)
    ledger = Ledger.open(settings)
    examined = examine(ledger, project, turn.moment)
    fresh = _fresh(turn, ledger, project)
    labelled = [row for row in ledger.labelled(project.name, until=turn.moment) if row.id not in fresh.left_out]
    known = unknown_where_redacted(labelled, project.privacy.redacted)
    late = late_labels(known, schema, table)
    frame = pd.concat([table, late.frame], ignore_index=True) if len(late.frame) else table
    ruled = apply_rules(frame, project, schema)
    labelled = ruled.frame[ruled.frame[schema.target].notna()]
    counts = labelled[SOURCE].value_counts().to_dict()
    create_markdown_artifact(
        key=f"{project.name}-labels",
        markdown="\n".join(
            [
                f"- {late.said}",
                *(f"- Set aside: {reason}" for reason in examined.reasons),
                *([f"- {fresh.said}"] if fresh.said else []),
                f"- {ruled.said}",
                f"- {len(ruled.frame) - len(labelled):,} rows stay without a label and are not learned from.",
                f"- Labels by source: {', '.join(f'{source} {n:,}' for source, n in counts.items())}.",
            ]
        ),
        description=f"{len(labelled):,} labelled rows",
    )
    return replace(rows, path=snapshot(labelled, settings, project.name), rows=len(labelled), digest=digest(labelled))
