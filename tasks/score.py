"""Score: batch inference in numbered batches, so that a killed run goes on with the first batch that is missing."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.errors import BadData
from treadle.ledger import Ledger
from treadle.models.answering import open_version
from treadle.project import load_project
from treadle.settings import Settings
from treadle.tables.data import conform_features, digest, read_table
from treadle.tables.schema import Schema


@dataclass(frozen=True)
class Plan:
    """A scoring job: what answers what, and the folder where its batches lie until all are there.

    Attributes:
        unread: By column, cells that could not be read and are answered as missing.
    """

    project: str
    version: int
    rows: str
    target: str
    folder: str
    count: int
    batch_rows: int
    unread: dict[str, int] = field(default_factory=dict)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return math.ceil(self.count / self.batch_rows)

    def part(self, number: int) -> Path:
        """The file of one batch."""
        return Path(self.folder) / f"part-{number:06}.parquet"


@step("plan batches", retries=2)
def plan_batches(name: str, source: str, target: str, version: int | None, batch_rows: int) -> Plan:
    """Read the table once and name the job by its content and version, so that a rerun finds its own batches.

    Raises:
        BadData: The target is neither CSV nor Parquet, or the table cannot be read or lacks a column.
    """
    if Path(target).suffix not in (".csv", ".parquet"):
        raise BadData(f"Cannot write '{target}': name a file that ends in .csv or .parquet.")
    settings = Settings()
    project = load_project(name, settings)
    answering = open_version(settings, Ledger.open(settings), name, version)
    raw = read_table(source)
    frame, unread = conform_features(raw, Schema.load(project.folder / "schema.json"))
    job = hashlib.sha256(f"{digest(frame)} {answering.version} {batch_rows}".encode()).hexdigest()[:16]
    folder = settings.state_dir / "scores" / name / job
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "rows.parquet", index=False)
    return Plan(
        name, answering.version, str(folder / "rows.parquet"), target, str(folder), len(frame), batch_rows, unread
    )


@step("score batch", retries=2)
def score_batch(plan: Plan, number: int) -> int:
    """Answer one batch, unless an earlier run of the same job did.

    Returns:
        Rows answered.
    """
    part = plan.part(number)
    if part.exists():
        return len(pd.read_parquet(part))
    settings = Settings()
    answering = open_version(settings, Ledger.open(settings), plan.project, plan.version)
    begin = number * plan.batch_rows
    rows = pd.read_parquet(plan.rows).iloc[begin : begin + plan.batch_rows]
    answers = _as_columns(answering.answer(rows), answering.bundle.manifest.classes)
    temporary = part.with_suffix(".tmp")
    answers.to_parquet(temporary, index=False)
    temporary.replace(part)
    return len(answers)


def _as_columns(answer: Any, classes: tuple[str, ...] | list[str] | None) -> pd.DataFrame:
    """`prediction`, and for classification one column `probability_<class>` each."""
    if not classes:
        return pd.DataFrame({"prediction": answer})
    columns: dict[str, Any] = {"prediction": [classes[i] for i in answer.argmax(axis=1)]}
    return pd.DataFrame(columns | {f"probability_{name}": answer[:, i] for i, name in enumerate(classes)})


@step("gather answers")
def gather_answers(plan: Plan) -> dict[str, Any]:
    """Put the batches together, in the table's order; the target file appears whole or not at all.

    Raises:
        BadData: The batches do not add up to one output row an input row.
    """
    answers = pd.concat([pd.read_parquet(plan.part(number)) for number in range(plan.batches)], ignore_index=True)
    if len(answers) != plan.count:
        raise BadData(f"{len(answers)} answers for {plan.count} rows; delete {plan.folder} and run again.")
    target = Path(plan.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    if target.suffix == ".csv":
        answers.to_csv(temporary, index=False)
    else:
        answers.to_parquet(temporary, index=False)
    temporary.replace(target)
    create_markdown_artifact(
        key=f"{plan.project}-scores", markdown=f"{plan.count:,} rows answered by version {plan.version}: `{target}`"
    )
    said = {"project": plan.project, "version": plan.version, "rows": plan.count, "file": str(target)}
    return said | ({"cells_not_read": plan.unread} if plan.unread else {})
