"""Score: batch inference in numbered batches, so that a killed run goes on with the first batch that is missing.

The answers go to the file alone, unless they are to be recorded: then each is in the ledger before it is in the file.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact

from tasks.step import step
from treadle.errors import BadData
from treadle.ledger import Entry, Ledger
from treadle.models.answering import Answering, open_version
from treadle.models.onnx_export import frame_to_inputs
from treadle.models.plain import rows_of, shape_answers
from treadle.privacy import Redactor, privacy_key
from treadle.project import load_project
from treadle.settings import Settings
from treadle.tables.data import conform_features, digest, read_table
from treadle.tables.schema import Schema

ID = "prediction_id"
"""The output's column of ids by which labels are sent, where the answers are recorded."""


@dataclass(frozen=True)
class Plan:
    """A scoring job: what answers what, and the folder where its batches lie until all are there.

    Attributes:
        count: Rows of the table.
        unread: By column, cells that could not be read and are answered as missing.
        carried: Columns of the table that name its rows, and stand in front of the answers.
        record: Whether the answers are kept in the ledger.
    """

    project: str
    version: int
    rows: str
    target: str
    folder: str
    count: int
    batch_rows: int
    unread: dict[str, int] = field(default_factory=dict)
    carried: tuple[str, ...] = ()
    record: bool = False

    @property
    def job(self) -> str:
        """Its name: the same for the same rows, version and size of a batch."""
        return Path(self.folder).name

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return math.ceil(self.count / self.batch_rows)

    def part(self, number: int) -> Path:
        """The file of one batch."""
        return Path(self.folder) / f"part-{number:06}.parquet"


@step("plan batches", retries=2)
def plan_batches(
    name: str, source: str, target: str, version: int | None, batch_rows: int, record: bool = False
) -> Plan:
    """Read the table once and name the job by its content and version, so that a rerun finds its own batches.

    Raises:
        BadData: The target is neither CSV nor Parquet, or the table cannot be read or lacks a column.
    """
    if Path(target).suffix not in (".csv", ".parquet"):
        raise BadData(f"Cannot write '{target}': name a file that ends in .csv or .parquet.")
    settings = Settings()
    project = load_project(name, settings)
    answering = open_version(settings, Ledger.open(settings), name, version)
    raw, schema = read_table(source), Schema.load(project.folder / "schema.json")
    features, unread = conform_features(raw, schema)
    names = _naming(raw, schema)
    frame = features.assign(**{column: names[column] for column in names.columns.difference(features.columns)})
    said = f"{digest(frame)} {answering.version} {batch_rows}{' recorded' if record else ''}"
    folder = settings.state_dir / "scores" / name / hashlib.sha256(said.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "rows.parquet", index=False)
    return Plan(
        name, answering.version, str(folder / "rows.parquet"), target, str(folder), len(frame), batch_rows, unread,
        tuple(names.columns), record,
    )  # fmt: skip


def _naming(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The columns of a table that say which row it is, as they are: what the schema calls an identifier, and the group.

    One that is called like a column of the answers is left out.
    """
    named = [column.name for column in schema.columns if column.kind == "identifier" or column.name == schema.group]
    taken = {"prediction", ID, *(f"probability_{one}" for one in schema.classes or ())}
    columns = {name: _one_kind(raw[name]) for name in named if name in raw and name not in taken}
    return pd.DataFrame(columns, index=raw.index).reset_index(drop=True)


def _one_kind(values: pd.Series) -> pd.Series:
    """Values that Parquet can keep: as text where a JSON file mixes numbers and texts."""
    return values if values.dtype != object else values.astype("str").where(values.notna())


@step("score batch", retries=2)
def score_batch(plan: Plan, number: int) -> int:
    """Answer one batch, unless an earlier run of the same job did.

    Returns:
        Rows answered.

    Raises:
        Unavailable: The ledger cannot be written; the batch is not answered then.
    """
    part = plan.part(number)
    if part.exists():
        return len(pd.read_parquet(part))
    settings = Settings()
    ledger = Ledger.open(settings)
    answering = open_version(settings, ledger, plan.project, plan.version)
    begin = number * plan.batch_rows
    rows = pd.read_parquet(plan.rows).iloc[begin : begin + plan.batch_rows].reset_index(drop=True)
    answer = answering.answer(rows)
    columns = _as_columns(answer, answering.bundle.manifest.classes)
    if plan.record:
        columns.insert(0, ID, _recorded(plan, begin, rows, answer, answering, settings, ledger))
    temporary = part.with_suffix(".tmp")
    pd.concat([rows[list(plan.carried)], columns], axis=1).to_parquet(temporary, index=False)
    temporary.replace(part)
    return len(columns)


def _as_columns(answer: Any, classes: tuple[str, ...] | list[str] | None) -> pd.DataFrame:
    """`prediction`, and for classification one column `probability_<class>` each."""
    if not classes:
        return pd.DataFrame({"prediction": answer})
    columns: dict[str, Any] = {"prediction": [classes[i] for i in answer.argmax(axis=1)]}
    return pd.DataFrame(columns | {f"probability_{name}": answer[:, i] for i, name in enumerate(classes)})


def _recorded(
    plan: Plan, begin: int, rows: pd.DataFrame, answer: np.ndarray, answering: Answering, settings: Settings,
    ledger: Ledger,
) -> list[str | None]:  # fmt: skip
    """Keep a batch in the ledger, as if it had been asked of the service now; a batch that is there already stays as it is.

    Returns:
        An id a row; none for a row without a finite answer, which the service would refuse.
    """
    manifest = answering.bundle.manifest
    redact = Redactor(manifest.redacted, privacy_key(settings)) if manifest.redacted else dict
    said = shape_answers(answer, manifest.classes)
    asked = rows_of(frame_to_inputs(rows, manifest.columns), manifest)
    finite = [bool(np.isfinite(given).all()) for given in answer]
    ids = [f"{plan.job}-{begin + i}" if good else None for i, good in enumerate(finite)]
    now = time.time_ns() // 1000
    ledger.absorb(
        [
            Entry(name, plan.project, plan.version, now, now, _json(redact(row)), _json(given))
            for name, row, given in zip(ids, asked, said, strict=True)
            if name is not None
        ]
    )
    return ids


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


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
    if plan.record:
        said["recorded"] = int(answers[ID].notna().sum())
    return said | ({"cells_not_read": plan.unread} if plan.unread else {})
