"""Labels that do not come with the table: late ones from the ledger, ones that rules propose, and an audit of all.

Works on conformed tables; knows the ledger's rows but not its database.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from treadle.errors import BadProject
from treadle.project import Project
from treadle.tables.data import AT, ROW, SOURCE, to_seconds
from treadle.tables.schema import Column, Schema

if TYPE_CHECKING:
    from treadle.ledger import Row

Rule = Callable[[dict[str, Any]], Any]
LEAST_KNOWN = 50  # known labels from which a rule's accuracy is worth something
MOST_SUSPECTS = 100


@dataclass(frozen=True)
class Late:
    """Labelled rows from the ledger, conformed; and what was done, in one sentence."""

    frame: pd.DataFrame
    said: str


@dataclass(frozen=True)
class RuleReport:
    """How one rule did.

    Attributes:
        rule: Its import path.
        spoke: Rows on which it did not abstain.
        judged: Those of them whose label is known.
        accuracy: The share of those on which it is right; `None` when there are none.
        conflicts: Rows on which another rule said something else.
        weight: Its weight in the vote.
    """

    rule: str
    spoke: int
    judged: int
    accuracy: float | None
    conflicts: int
    weight: float


@dataclass(frozen=True)
class Ruled:
    """The table with gaps filled where the rules agreed; the rules' reports; and one sentence."""

    frame: pd.DataFrame
    rules: tuple[RuleReport, ...]
    filled: int
    said: str


@dataclass(frozen=True)
class Audit:
    """Rows whose label is likely wrong, worst first, at most 100; their number in all; and one sentence."""

    suspects: tuple[dict[str, Any], ...]
    count: int
    said: str


def late_labels(rows: Sequence[Row], schema: Schema, table: pd.DataFrame) -> Late:
    """Turn the ledger's labelled predictions into table rows, but those that the table has already.

    Args:
        rows: Labelled rows.
        schema: Types of the columns; columns that the service does not ask for are missing in these rows.
        table: The project's own rows; a row with the same feature values and time is the same row.
    """
    if not rows:
        return Late(table.iloc[:0], "No labels came back through the service: nothing to join.")
    columns: dict[str, Any] = {}
    for column in schema.columns:
        if column.name == schema.target:
            values = [row.label for row in rows]
            columns[column.name] = pd.Series(values, dtype="str" if schema.classes else "float64")
        else:
            columns[column.name] = _feature([row.features.get(column.name) for row in rows], column)
    frame = pd.DataFrame(columns)
    at = pd.Series([row.at.replace(tzinfo=None) for row in rows], dtype="datetime64[us]")
    frame[ROW] = pd.Series([f"p:{row.id}" for row in rows], dtype="str")
    frame[AT] = frame[schema.time].fillna(at) if schema.time else at
    frame[SOURCE] = pd.Series("feedback", index=frame.index, dtype="str")
    new = ~_keys(frame, schema).isin(set(_keys(table, schema))) if schema.time else pd.Series(True, index=frame.index)
    again = int((~new).sum())
    said = f"{int(new.sum()):,} labels came back through the service" + (
        f", {again:,} of them for rows of the table." if again else "."
    )
    return Late(frame[new].reset_index(drop=True), said)


def _keys(frame: pd.DataFrame, schema: Schema) -> pd.Series:
    """What makes a row the same row: its features and its time."""
    return pd.util.hash_pandas_object(frame[[c.name for c in schema.features]], index=False)


def _feature(values: list[Any], column: Column) -> pd.Series:
    """Values as a caller sent them, in the column's dtype."""
    if column.kind == "datetime":
        times = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, errors="coerce", format="ISO8601")
        return times.dt.tz_localize(None).astype("datetime64[us]")
    if column.kind in ("number", "integer", "boolean"):
        if column.tokens:
            tokens = {column.tokens[0]: 0.0, column.tokens[1]: 1.0}
            values = [tokens.get(value, value) if isinstance(value, str) else value for value in values]
        return pd.to_numeric(pd.Series(values, dtype="object"), errors="coerce").astype("float64")
    return pd.Series([None if value in (None, "") else str(value) for value in values], dtype="str")


def load_rule(path: str, project: Project) -> Rule:
    """A labeling function by its import path; modules in the project's folder come first.

    Raises:
        BadProject: There is no such module or function, or the module fails.
    """
    module_name, _, function = path.partition(":")
    if not function or not all(part.isidentifier() for part in module_name.split(".")):
        raise BadProject(f"label.rules: '{path}' is not an import path; write module:function.")
    file = project.folder / f"{module_name.replace('.', '/')}.py"
    try:
        if file.is_file():
            module = _run_file(file, f"_rules_{project.name.replace('-', '_')}_{module_name}")
        else:
            module = importlib.import_module(module_name)
        rule = getattr(module, function)
    except Exception as error:
        raise BadProject(
            f"label.rules: cannot load '{path}': {type(error).__name__}: {error}. "
            f"It is looked for in {project.folder} first."
        ) from error
    if not callable(rule):
        raise BadProject(f"label.rules: cannot load '{path}': it is a {type(rule).__name__}, not a function.")
    return rule  # type: ignore[no-any-return]


def _run_file(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101 - a .py file always has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def apply_rules(frame: pd.DataFrame, project: Project, schema: Schema) -> Ruled:
    """Fill missing labels by a vote of the project's rules, each weighted by how right it is on known labels.

    A rule may abstain with `None`; a row on which all abstain, or on which the vote is a tie, stays unlabelled.

    Raises:
        BadProject: A rule raised, or named an unknown class; the message names rule and row.
    """
    if not project.label.rules:
        return Ruled(frame, (), 0, "No labeling rules are named: nothing to fill.")
    known = frame[schema.target].notna().to_numpy()
    if known.all():
        checked = frame.sample(min(len(frame), 2000), random_state=project.split.seed)
    else:
        sample = frame[known].sample(min(int(known.sum()), 2000), random_state=project.split.seed)
        checked = pd.concat([sample, frame[~known]])
    votes = {path: _votes(path, load_rule(path, project), checked, schema) for path in project.label.rules}
    truth = checked[schema.target]
    reports = tuple(_report(path, votes, truth) for path in votes)
    if known.all():
        return Ruled(
            frame, reports, 0, f"Every row has a label: {len(reports)} rules had nothing to fill.{_say_rules(reports)}"
        )
    weights = {report.rule: report.weight for report in reports}
    empty = checked.index[checked[schema.target].isna()]
    labels = {row: _vote({path: said[row] for path, said in votes.items()}, weights) for row in empty}
    filled = {row: label for row, label in labels.items() if label is not None}
    result = frame.copy()
    if filled:
        result.loc[list(filled), schema.target] = list(filled.values())
        result.loc[list(filled), SOURCE] = "rules"
    said = (
        f"{len(filled):,} of {len(empty):,} unlabelled rows got a label by {len(reports)} rules.{_say_rules(reports)}"
    )
    return Ruled(result, reports, len(filled), said)


def _votes(path: str, rule: Rule, frame: pd.DataFrame, schema: Schema) -> dict[Any, Any]:
    """What one rule says on each row, by index; missing values are `None` to it."""
    visible = frame.drop(columns=[schema.target, *[c for c in (ROW, AT, SOURCE) if c in frame]])
    records = visible.astype("object").where(visible.notna(), None).to_dict("records")
    said = {}
    for index, record in zip(frame.index, records, strict=True):
        try:
            label = rule({str(key): value for key, value in record.items()})
        except Exception as error:
            raise BadProject(
                f"The rule '{path}' raised {type(error).__name__}: {error} on row {frame[ROW][index]}."
            ) from error
        wrong = None if label is None else _not_a_label(label, schema)
        if wrong:
            raise BadProject(
                f"The rule '{path}' said {str(label)[:60]!r} on row {frame[ROW][index]}, which is {wrong}."
            )
        said[index] = label
    return said


def _not_a_label(label: Any, schema: Schema) -> str | None:
    """What is wrong with a rule's answer, if something is."""
    if schema.classes:
        known = isinstance(label, str) and label in schema.classes
        return None if known else f"none of the classes ({', '.join(schema.classes[:10])})"
    finite = isinstance(label, Real) and not isinstance(label, bool) and math.isfinite(label)
    return None if finite else "not a finite number; return None to abstain"


def _report(path: str, votes: dict[str, dict[Any, Any]], truth: pd.Series) -> RuleReport:
    said = votes[path]
    spoke = [row for row, label in said.items() if label is not None]
    judged = [row for row in spoke if pd.notna(truth[row])]
    accuracy = float(np.mean([said[row] == truth[row] for row in judged])) if judged else None
    conflicts = sum(any(other[row] not in (None, said[row]) for other in votes.values()) for row in spoke)
    weight = accuracy if accuracy is not None and len(judged) >= LEAST_KNOWN else 1.0
    return RuleReport(path, len(spoke), len(judged), accuracy, conflicts, weight)


def _vote(labels: dict[str, Any], weights: dict[str, float]) -> Any:
    """The label with the most weight; `None` for a tie or when all abstain."""
    totals: dict[Any, float] = {}
    for path, label in labels.items():
        if label is not None:
            totals[label] = totals.get(label, 0.0) + weights[path]
    ranked = sorted(totals.items(), key=lambda item: -item[1])
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _say_rules(reports: tuple[RuleReport, ...]) -> str:
    known = [f"{r.rule} {r.accuracy:.0%} of {r.judged:,}" for r in reports if r.accuracy is not None]
    right = f" Right on known labels: {', '.join(known)}." if known else ""
    conflicts = [f"{r.rule} {r.conflicts:,} of {r.spoke:,}" for r in reports if r.conflicts]
    return right + (f" Contradicted by another rule: {', '.join(conflicts)}." if conflicts else "")


def audit_labels(frame: pd.DataFrame, schema: Schema, y: np.ndarray, answer: np.ndarray) -> Audit:
    """Find labels that are likely wrong, by answers of a model that had not seen them.

    Args:
        frame: The rows, with their ids.
        schema: Says the classes and the target.
        y: Encoded target (n,).
        answer: Out-of-sample answers, (n,) or (n, n_classes).

    Source: confident learning, C. Northcutt et al. (2021), as in cleanlab; for regression, residuals beyond six robust
    standard deviations.
    """
    if not len(y):
        return Audit((), 0, "There are no labels to audit: nothing was done.")
    if schema.classes:
        from cleanlab.filter import find_label_issues

        order = find_label_issues(y.astype(int), answer, return_indices_ranked_by="self_confidence", n_jobs=1)
        suggested = [schema.classes[i] for i in answer.argmax(axis=1)]
        doubt = 1 - answer[np.arange(len(y)), y.astype(int)]
    else:
        residual = np.abs(y - answer)
        spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual)))) or float("inf")
        order = np.argsort(-residual)[: int((residual > np.median(residual) + 6 * spread).sum())]
        suggested, doubt = list(np.round(answer, 4)), residual
    suspects = tuple(
        {
            "row": str(frame[ROW].iloc[i]),
            "given": frame[schema.target].iloc[i],
            "suggested": suggested[i],
            "doubt": round(float(doubt[i]), 4),
        }
        for i in list(order)[:MOST_SUSPECTS]
    )
    said = (
        f"{len(order):,} of {len(y):,} audited labels are suspect."
        if len(order)
        else f"None of {len(y):,} audited labels is suspect."
    )
    return Audit(suspects, len(order), said)


def event_days(frame: pd.DataFrame) -> np.ndarray:
    """The day number of each row's event time (n,), -1 where unknown."""
    seconds = to_seconds(frame[AT])
    return np.where(np.isfinite(seconds), np.nan_to_num(seconds) // 86400, -1).astype(np.int64)
