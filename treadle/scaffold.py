"""`treadle init`: a project from a table. Infers what it can and says what it inferred; writes all of it or nothing."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from treadle.errors import BadData, Conflict
from treadle.learning.split import LEAST_TO_LEARN, MIN_ROWS
from treadle.project import Data, check_name
from treadle.settings import Settings
from treadle.tables.data import infer_schema, read_table
from treadle.tables.inference import DATE_LIKE, no_column
from treadle.tables.schema import FEATURE_KINDS, Column, Schema
from treadle.tables.values import as_text, plain_number

MOST_CLASSES = 20
LEAST_OF_CLASS = 10
LEAST_SHARE_OF_CLASS = 0.01  # numbers with a rarer value among them are counts or ratings, not classes
TIME_NAMES = re.compile(r"(^|_)(time|timestamp|datetime|date|ts|created|created_at|at|day|when)($|_)", re.IGNORECASE)


@dataclass(frozen=True)
class Inferred:
    """What `init` made of a table.

    Attributes:
        project_path: The project file.
        data_path: The project's copy of the table, which it learns from; the file that was given is not read again.
        target: The column to predict.
        classes: How many values the target has; `None` for numbers.
        time: The column of event times, if one looks like it.
        ignored: Columns that models will not see, and why.
        columns: Name, kind, missing and an example of each column.
    """

    project_path: str
    data_path: str
    problem: str
    target: str
    classes: int | None
    time: str | None
    ignored: dict[str, str]
    columns: list[dict[str, Any]]
    rows: int


def init_project(name: str, source: Path, target: str, settings: Settings) -> Inferred:
    """Write `projects/<name>` from a local table.

    Raises:
        BadProject: The name cannot be a project's.
        Conflict: The project exists.
        NotFound: There is no such file.
        BadData: It is not a table, or has no such target, or a target that cannot be learned.
    """
    folder = settings.projects_dir / check_name(name)
    if folder.exists():
        raise Conflict(f"The project '{name}' exists ({folder}); choose another name, or remove the folder.")
    raw = read_table(str(source))
    if target not in raw:
        raise no_column("target", target, raw)
    problem = _problem_of(raw[target])
    draft = infer_schema(raw, Data(source=source.name, target=target), problem)
    time = _time_of(draft, raw)
    schema = infer_schema(raw, Data(source=source.name, target=target, time=time), problem)
    if not schema.features:
        raise BadData(
            f"{source} has no column that '{target}' could be learned from: see what each looks like in the table."
        )
    settings.projects_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=settings.projects_dir))
    try:
        (temporary / "data").mkdir()
        shutil.copy2(source, temporary / "data" / source.name)
        (temporary / "project.yaml").write_text(_yaml(name, problem, source.name, target, time), encoding="utf-8")
        schema.save(temporary / "schema.json")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Inferred(
        project_path=str(folder / "project.yaml"),
        data_path=str(folder / "data" / source.name),
        problem=problem,
        target=target,
        classes=len(schema.classes) if schema.classes else None,
        time=time,
        ignored=_left_out(schema),
        columns=[_row(column, raw[column.name]) for column in schema.columns],
        rows=len(raw),
    )


def _problem_of(target: pd.Series) -> str:
    """Classification for words, truths and few whole numbers; regression for other numbers.

    Raises:
        BadData: Nothing can be learned from such a target.
    """
    present = as_text(target).dropna()
    distinct = present.nunique()
    if not len(present):
        raise BadData(f"The target '{target.name}' is missing in every row.")
    if distinct == 1:
        raise BadData(
            f"The target '{target.name}' is '{present.iloc[0][:40]}' in every row: there is nothing to learn."
        )
    if len(present) < MIN_ROWS:
        raise BadData(f"{len(present)} rows have a value of '{target.name}'; bring {MIN_ROWS} or more.")
    numbers = pd.to_numeric(plain_number(present), errors="coerce")
    if numbers.notna().all():
        if distinct > 2 and not _are_classes(numbers):
            return "tabular-regression"
    elif distinct > max(MOST_CLASSES, 0.2 * len(present)):
        raise BadData(
            f"The target '{target.name}' has {distinct:,} different values that are not numbers, such as "
            f"'{present.iloc[0][:40]}'; choose a column of classes or of numbers."
        )
    rarest = present.value_counts().iloc[[-1]]
    if rarest.iloc[0] < LEAST_TO_LEARN:
        raise BadData(
            f"The class '{str(rarest.index[0])[:40]}' of '{target.name}' has {rarest.iloc[0]} row, too few to learn from; "
            "bring more, remove the row, or merge it into another class."
        )
    return "tabular-classification"


def _are_classes(numbers: pd.Series) -> bool:
    """Whether numbers name classes: few whole ones, none of them rare, as the tail of a count is."""
    counts = numbers.value_counts()
    few = len(counts) <= MOST_CLASSES and len(counts) < 0.05 * len(numbers) and bool((numbers % 1 == 0).all())
    return few and counts.min() >= max(LEAST_OF_CLASS, LEAST_SHARE_OF_CLASS * len(numbers))


def _time_of(schema: Schema, raw: pd.DataFrame) -> str | None:
    """The one datetime column that looks like when the row happened."""
    times = [c.name for c in schema.columns if c.kind == "datetime" and c.name != schema.target and not c.nullable]
    named = [name for name in times if TIME_NAMES.search(name)]
    candidates = named or times
    spread = [name for name in candidates if raw[name].nunique() > 0.01 * len(raw)]
    return spread[0] if len(spread) == 1 or (named and spread) else None


def _left_out(schema: Schema) -> dict[str, str]:
    reasons = {
        "identifier": "it identifies rows",
        "text": "free text: tabular models do not read it",
        "constant": "it has only one value",
    }
    said = {c.name: reasons[c.kind] for c in schema.columns if c.kind not in FEATURE_KINDS and c.name != schema.target}
    unread = [c.name for c in schema.columns if c.name in said and DATE_LIKE.match(str(c.example or ""))]
    return said | dict.fromkeys(unread, "it looks like times that are not read; write them as 2024-12-31 14:30")


def _row(column: Column, values: pd.Series) -> dict[str, Any]:
    example = column.example
    if isinstance(example, float) and example.is_integer():
        example = int(example)
    shown = "" if example is None else str(example)
    if column.kind == "datetime" and shown:
        shown = f"{shown.replace('T', ' ')} UTC"
    return {
        "column": column.name,
        "kind": column.kind,
        "missing": _share(as_text(values, column.missing).isna().mean()),
        "example": shown if len(shown) <= 30 else f"{shown[:29]}…",
    }


def _share(share: float) -> str:
    return "none" if not share else "under 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def _yaml(name: str, problem: str, source: str, target: str, time: str | None) -> str:
    data = {"source": f"data/{source}", "target": target} | ({"time": time} if time else {})
    body = yaml.safe_dump({"name": name, "problem": problem, "data": data}, sort_keys=False, allow_unicode=True)
    return (
        "# yaml-language-server: $schema=../../docs/project.schema.json\n"
        "# Everything else has a default: see docs/project.md. What the columns are is in schema.json.\n" + body
    )
