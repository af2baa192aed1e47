"""Label: late labels from the ledger join the table, rules fill what has none, and an audit lists the suspects."""

from __future__ import annotations

import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.data import SOURCE, digest, load_snapshot, snapshot
from treadle.labeling import apply_rules, late_labels
from treadle.ledger import Ledger
from treadle.privacy import unknown_where_redacted
from treadle.project import load_project
from treadle.schema import Schema
from treadle.settings import Settings
from treadle.turn import Rows, Turn


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
    labelled = Ledger.open(settings).labelled(project.name, until=turn.moment)
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
                f"- {ruled.said}",
                f"- {len(ruled.frame) - len(labelled):,} rows stay without a label and are not learned from.",
                f"- Labels by source: {counts}",
            ]
        ),
        description=f"{len(labelled):,} labelled rows",
    )
    return Rows(snapshot(labelled, settings, project.name), len(labelled), digest(labelled), rows.quarantined)
