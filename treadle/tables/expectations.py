"""What the rows must satisfy: written from the data once, edited by people, checked by Great Expectations ever after.

The file is Great Expectations' own format, a list of `type` and `kwargs`. Knows tables; knows nothing of runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from treadle.errors import BadProject, BrokenTable
from treadle.project import Project
from treadle.settings import quiet_telemetry
from treadle.tables.data import BAD, INTERNAL
from treadle.tables.schema import Column, Schema

SLACK = 1.0  # numbers may leave the range seen by its own width
NULL_SLACK = 0.1  # and the share of missing values may grow by so much
MOST_CATEGORIES = 100
NEW_CATEGORIES = 0.05  # share of rows with categories never seen above which something is wrong


class ExpectationError(BrokenTable):
    """An expectation that could not be evaluated: a mistake in the file, not bad rows."""

    title = "Expectation failed to run"


@dataclass(frozen=True)
class Failure:
    """One expectation that did not hold.

    Attributes:
        kind: `rows`, some rows are bad and are set aside; `table`, the column as a whole is.
        rows: How many rows are bad.
    """

    expectation: str
    column: str
    kind: Literal["rows", "table"]
    said: str
    rows: int


@dataclass(frozen=True)
class ValidationResult:
    """What the check said.

    Attributes:
        bad: Row positions with the reasons for each.
        cause: Why the run must stop, if it must.
        checked: Expectations that were checked.
    """

    rows: int
    checked: int
    bad: Mapping[int, str]
    failures: tuple[Failure, ...]
    cause: str | None

    @property
    def passed(self) -> bool:
        """Whether the good rows may be learned from."""
        return self.cause is None

    @property
    def quarantined(self) -> int:
        """Rows set aside."""
        return len(self.bad)


def write_suite(frame: pd.DataFrame, schema: Schema, path: Path) -> None:
    """Write expectations from the data, with slack, for people to edit."""
    hidden = set(schema.ignored)
    suite = [e for c in schema.columns if c.name not in hidden for e in _expectations(frame[c.name], c, schema)]
    text = json.dumps({"expectations": suite}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _expectations(values: pd.Series, column: Column, schema: Schema) -> list[dict[str, Any]]:
    name, found = column.name, []
    if name != schema.target:  # rows without a label are not bad, only not learned from
        share = float(values.isna().mean())
        mostly = {} if share == 0 else {"mostly": round(max(0.0, 1 - share - NULL_SLACK), 3)}
        found.append(_expect("expect_column_values_to_not_be_null", column=name, **mostly))
    if column.kind in ("number", "integer") and column.low is not None and column.high is not None:
        width = max(column.high - column.low, abs(column.high) * 0.1, 1e-9)
        low = column.low - SLACK * width
        low = 0.0 if column.low >= 0 and low < 0 else low
        found.append(
            _expect(
                "expect_column_values_to_be_between", column=name, min_value=low, max_value=column.high + SLACK * width
            )
        )
    if column.kind == "category" and column.categories and len(column.categories) <= MOST_CATEGORIES:
        strict = {} if name == schema.target else {"mostly": 1 - NEW_CATEGORIES}
        found.append(
            _expect("expect_column_values_to_be_in_set", column=name, value_set=list(column.categories), **strict)
        )
    if column.kind == "identifier" and values.notna().all() and values.is_unique:
        found.append(_expect("expect_column_values_to_be_unique", column=name))
    return found


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs}


def check(frame: pd.DataFrame, schema: Schema, suite_path: Path, project: Project) -> ValidationResult:  # noqa: ARG001
    """Check conformed rows against the project's expectations.

    Raises:
        BadProject: The file is not a suite.
        ExpectationError: An expectation raised; the message names it.
    """
    suite = _read_suite(suite_path)
    visible = frame.drop(columns=[c for c in INTERNAL if c in frame]).reset_index(drop=True)
    results = _validate(visible, [_with_dates(e, visible, suite_path) for e in suite], suite_path)
    bad = _unreadable(frame)
    failures = [Failure("readable", "", "rows", "a value cannot be read", len(bad))] if bad else []
    for result in results:
        if not result.success:
            failure, rows = _failure(result, visible)
            failures.append(failure)
            for row in rows:
                bad.setdefault(row, []).append(failure.said)
    reasons = {row: "; ".join(said) for row, said in sorted(bad.items())}
    return ValidationResult(
        len(visible), len(suite), reasons, tuple(failures), _cause(failures, len(reasons), len(visible), project)
    )


def _unreadable(frame: pd.DataFrame) -> dict[int, list[str]]:
    """Row positions whose cells could not be read as their column's kind."""
    if BAD not in frame:
        return {}
    reasons = frame[BAD].reset_index(drop=True).dropna()
    return {int(str(row)): [str(reason)] for row, reason in reasons.items() if reason}


def _read_suite(path: Path) -> list[dict[str, Any]]:
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))["expectations"]
        return [{"type": str(e["type"]), "kwargs": dict(e["kwargs"])} for e in suite]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadProject(
            f"{path} is not a list of expectations ({type(error).__name__}: {error}); mend it, or delete it to have it written anew."
        ) from error


def _with_dates(expectation: dict[str, Any], frame: pd.DataFrame, path: Path) -> dict[str, Any]:
    """Bounds of a time column as times: JSON has none, and Great Expectations takes a bare date for something else."""
    kwargs = dict(expectation["kwargs"])
    column = kwargs.get("column")
    if not isinstance(column, str) or column not in frame or not is_datetime64_any_dtype(frame[column]):
        return expectation
    for key in ("min_value", "max_value"):
        if isinstance(kwargs.get(key), str):
            try:
                moment = datetime.fromisoformat(kwargs[key])
            except ValueError:
                raise ExpectationError(
                    f"{path}: {expectation['type']} on '{column}': {key} '{kwargs[key]}' is not an ISO 8601 time."
                ) from None
            kwargs[key] = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return expectation | {"kwargs": kwargs}


def _validate(frame: pd.DataFrame, suite: list[dict[str, Any]], path: Path) -> list[Any]:
    quiet_telemetry()
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.exceptions.exceptions import GreatExpectationsError

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("table").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    try:
        expectations = gx.ExpectationSuite(name="suite", expectations=suite)  # pyright: ignore[reportArgumentType]
        outcome = batch.validate(expectations, result_format={"result_format": "COMPLETE"})
    except (GreatExpectationsError, TypeError, ValueError, AttributeError) as error:
        raise ExpectationError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    for result in outcome.results:
        raised = _exception_of(result.exception_info)
        if raised:
            config: Any = result.expectation_config
            raise ExpectationError(f"{path}: {config.type} on '{config.kwargs.get('column')}' raised: {raised}")
    checked = [result.expectation_config.type for result in outcome.results if result.expectation_config]
    dropped = [
        e["type"] for e in suite if e["type"] not in checked
    ]  # Great Expectations only logs what it does not know
    if dropped:
        raise ExpectationError(f"{path}: Great Expectations does not know '{dropped[0]}', or not with these kwargs.")
    return list(outcome.results)


def _exception_of(info: Any) -> str | None:
    """What an expectation raised, in either of the shapes that Great Expectations reports it."""
    if not info:
        return None
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if isinstance(entry, dict) and entry.get("raised_exception"):
            return " ".join(str(entry.get("exception_message")).split())[:200]
    return None


def _failure(result: Any, frame: pd.DataFrame) -> tuple[Failure, list[int]]:
    """A failed expectation in plain words, and the rows that are to blame."""
    config, found = result.expectation_config, result.result or {}
    column, kwargs = str(config.kwargs.get("column", "")), config.kwargs
    rows = [int(i) for i in found.get("unexpected_index_list") or []]
    share = len(rows) / max(1, len(frame))
    said = _say(config.type, column, kwargs)
    if "mostly" in kwargs or not rows:
        return Failure(
            config.type,
            column,
            "table",
            f"{said} (in {share:.0%} of the rows it is not so)" if rows else said,
            len(rows),
        ), []
    return Failure(config.type, column, "rows", said, len(rows)), rows


def _say(kind: str, column: str, kwargs: Mapping[str, Any]) -> str:
    if kind == "expect_column_values_to_be_between":
        return f"'{column}' must be between {_bound(kwargs.get('min_value'))} and {_bound(kwargs.get('max_value'))}"
    if kind == "expect_column_values_to_not_be_null":
        least = kwargs.get("mostly")
        return (
            f"'{column}' must not be missing"
            if least is None
            else f"'{column}' must be there in {least:.0%} of the rows"
        )
    if kind == "expect_column_values_to_be_in_set":
        return f"'{column}' must be one of {', '.join(map(str, list(kwargs.get('value_set', []))[:8]))}"
    if kind == "expect_column_values_to_be_unique":
        return f"'{column}' must be unique"
    return f"{kind.removeprefix('expect_').replace('_', ' ')}: '{column}'"


def _bound(value: Any) -> str:
    return "anything" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _cause(failures: list[Failure], bad: int, rows: int, project: Project) -> str | None:
    """Why the run must stop, if it must."""
    broken = [failure.said for failure in failures if failure.kind == "table"]
    if broken:
        return f"The table is not what it was: {'; '.join(broken[:3])}"
    rules = project.validation
    if bad and rules.on_failure == "stop":
        return f"{bad:,} rows fail, and validate.on_failure is stop: {failures[0].said}"
    if bad > rules.max_bad_share * rows:
        worst = max(failures, key=lambda failure: failure.rows)
        return f"{bad:,} of {rows:,} rows fail, more than validate.max_bad_share allows; most of them: {worst.said}"
    return None


def quarantine(frame: pd.DataFrame, result: ValidationResult) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The good rows, and the bad ones with a `reason` column."""
    positions = list(result.bad)
    good = frame.drop(frame.index[positions]).drop(columns=[BAD], errors="ignore").reset_index(drop=True)
    bad = frame.iloc[positions].assign(reason=[result.bad[p] for p in positions]).reset_index(drop=True)
    return good, bad
