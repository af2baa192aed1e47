"""Split: who learns, who compares trials, who judges, and what no model ever sees."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.learning.split import split_rows
from treadle.ledger import Ledger
from treadle.models.evidence import Evidence
from treadle.project import load_project
from treadle.retraining.turn import Parts, Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import ROW, load_snapshot
from treadle.tables.schema import Schema


@step("split data")
def split_data(turn: Turn, rows: Rows) -> Parts:
    """Divide the labelled rows; a retrain is judged on the newest rows that the champion has not seen.

    Raises:
        BadData: There are too few rows to divide; the message says how many are needed.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    champion = Ledger.open(settings).champion(project.name)
    evidence = Evidence(settings, project.name)
    frame = load_snapshot(rows.path)
    seen = evidence.seen(champion.version) if champion else None
    split = split_rows(
        frame,
        project,
        Schema.load(turn.path("schema.json")),
        frozen=evidence.holdout(),
        seen=set(frame[ROW]) if turn.is_step else seen,  # a step learns from all: it is judged by what comes after it
    )
    path = turn.write("split.json", split.ids())
    create_markdown_artifact(
        key=f"{project.name}-split",
        markdown=f"{split.how}\n\n| train | valid | test | holdout |\n|---|---|---|---|\n"
        f"| {len(split.train):,} | {len(split.valid):,} | {len(split.test):,} | {len(split.holdout):,} |",
    )
    return Parts(str(path), len(split.train), len(split.valid), len(split.test), len(split.holdout), split.how)
