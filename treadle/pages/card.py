"""The model card: what a version is, what it learned from, how good it is, where it is weak, and how to call it.

Markdown from plain values; computes nothing about the model and reads no files.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from treadle.tables.schema import Column, Schema


@dataclass(frozen=True)
class Score:
    """One metric on the rows that judged: its value, a 95 % interval, and the trivial baseline's value."""

    metric: str
    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class Card:
    """What a model card tells.

    Attributes:
        model: The model's name.
        version: Its version; `None` before it is registered.
        problem: The problem's name.
        family: The family's name.
        params: What it was fitted with.
        metric: The metric that decides.
        schema: The columns.
        rows: Rows by part, such as `{"train": 900, "test": 100}`.
        digest: Digest of the data.
        since: Event time of the oldest row learned from, ISO 8601; `None` without a time column.
        until: The same of the newest.
        scores: The metrics on the rows that judged.
        judged_on: What those rows are, such as `test`.
        holdout: Metrics on the frozen holdout.
        slices: What `treadle.learning.slices.slices` returned, worst first.
        parity: Largest difference between the trained model's answers and the ONNX's.
        url: Base URL of the API.
        lineage: Further facts by name: project digest, git commit, seed, run.
        said: The verdict, in plain words.
        quarantined: Rows set aside by validation.
        history: How much of the past was learned from and why, as Markdown.
    """

    model: str
    version: int | None
    problem: str
    family: str
    params: Mapping[str, Any]
    metric: str
    schema: Schema
    rows: Mapping[str, int]
    digest: str
    since: str | None = None
    until: str | None = None
    scores: Sequence[Score] = ()
    judged_on: str = "test"
    holdout: Mapping[str, float] = field(default_factory=dict)
    slices: Sequence[Mapping[str, Any]] = ()
    parity: float | None = None
    url: str = "http://127.0.0.1:8000"
    lineage: Mapping[str, Any] = field(default_factory=dict)
    said: str | None = None
    quarantined: int = 0
    history: str | None = None


SPARSE_ROWS = 100
WORST_SLICES = 10
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def render_card(card: Card) -> str:
    """Write the card as Markdown; whatever comes from the data is escaped."""
    version = "" if card.version is None else f", version {card.version}"
    parts = [
        [f"# {escape(card.model)}{version}", *([escape(card.said)] if card.said else [])],
        ["## What it is", _what(card)],
        ["## What it learned from", _data(card)],
        ["## How good it is", _quality(card)],
        ["## Where it is weak", _slices(card)],
        ["## What it has not seen", _limits(card)],
        ["## How to call it", _call(card)],
    ]
    return "\n\n".join(block for part in parts for block in part) + "\n"


def escape(value: object) -> str:
    """Text that Markdown and HTML show as it is, on one line.

    >>> escape("<b> & more")
    '&lt;b&gt; &amp; more'
    """
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _what(card: Card) -> str:
    facts = {"Problem": card.problem, "Predicts": card.schema.target, "Family": card.family, "Decided by": card.metric}
    if card.schema.classes:
        facts["Classes"] = ", ".join(card.schema.classes)
    facts |= {f"Parameter {name}": _number(value) for name, value in sorted(card.params.items())}
    if card.parity is not None:
        facts["ONNX parity"] = f"{card.parity:.2g} (largest difference to the trained model on held-out rows)"
    return _table(["", ""], (facts | dict(card.lineage)).items())


def _data(card: Card) -> str:
    facts: dict[str, object] = {f"Rows, {name}": f"{rows:,}" for name, rows in card.rows.items()}
    facts["Rows set aside by validation"] = f"{card.quarantined:,}"
    facts["Digest"] = card.digest
    if card.since and card.until:
        facts["Event times"] = f"{card.since} to {card.until} (UTC, by {card.schema.time})"
    if card.schema.ignored:
        facts["Columns left out"] = ", ".join(card.schema.ignored)
    columns = _table(["Column", "Kind", "Missing", "Seen"], (_column(column) for column in card.schema.features))
    history = f"How much of the past: {card.history}\n\n" if card.history else ""
    return f"{_table(['', ''], facts.items())}\n\n{history}{columns}"


def _column(column: Column) -> tuple[str, str, str, str]:
    return column.name, column.kind, "yes" if column.nullable else "no", _seen(column)


def _seen(column: Column) -> str:
    """What values a column had: its range, or its categories."""
    if column.categories:
        more = f" and {len(column.categories) - 6} more" if len(column.categories) > 6 else ""
        return ", ".join(column.categories[:6]) + more
    if column.kind == "boolean":
        return " or ".join(column.tokens or ("false", "true"))
    if column.low is None or column.high is None:
        return ""
    return f"{_value(column, column.low)} to {_value(column, column.high)}"


def _value(column: Column, value: float) -> str:
    if column.kind != "datetime":
        return f"{value:.6g}"
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"


def _quality(card: Card) -> str:
    if not card.scores:
        return "It was not judged: there were no labelled rows that it had not seen."
    head = ["Metric", "Value", "95 % interval", "Trivial baseline", "Frozen holdout"]
    rows = [
        (
            score.metric + (" (decides)" if score.metric == card.metric else ""),
            _number(float(score.value)),
            f"{score.low:.4g} to {score.high:.4g}",
            _number(float(score.baseline)),
            _number(float(card.holdout[score.metric])) if score.metric in card.holdout else "not judged",
        )
        for score in card.scores
    ]
    return (
        f"On the {escape(card.judged_on)} rows, which it had not seen; intervals by bootstrap. The frozen holdout is "
        f"the same for every version, and none learns from it.\n\n{_table(head, rows)}"
    )


def _slices(card: Card) -> str:
    if not card.slices:
        return "No slice had enough rows to be judged on its own."
    rows = [(part["slice"], f"{part['rows']:,}", _number(float(part["score"]))) for part in card.slices[:WORST_SLICES]]
    note = f"The {len(rows)} worst of {len(card.slices)} slices by {escape(card.metric)}."
    return f"{note}\n\n{_table(['Slice', 'Rows', card.metric], rows)}"


def _limits(card: Card) -> str:
    """What the answers cannot be trusted for, read off the schema and the slices."""
    features = card.schema.features
    whole = [column.name for column in features if not column.nullable]
    sparse = [f"{part['slice']} ({part['rows']})" for part in card.slices if part["rows"] < SPARSE_ROWS]
    bounded = [column.name for column in features if column.low is not None and column.kind in ("number", "integer")]
    limits = []
    if card.until:
        limits.append(f"Nothing after {card.until}{f' or before {card.since}' if card.since else ''}.")
    if any(column.kind == "category" for column in features):
        limits.append("Categories other than those above: they are answered, as unknown.")
    if bounded:
        limits.append(f"Values outside the ranges above ({_some(bounded)}).")
    if whole:
        limits.append(f"Missing values of {_some(whole)}.")
    if sparse:
        limits.append(f"Enough of some slices, which were judged on fewer than {SPARSE_ROWS} rows: {_some(sparse)}.")
    if card.schema.classes:
        limits.append(f"Other classes of {card.schema.target} than {_some(card.schema.classes)}.")
    return "\n".join(f"- {escape(limit)}" for limit in limits) or "Nothing is known of its limits."


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _call(card: Card) -> str:
    row = {column.name: _example(column) for column in card.schema.features}
    body = shlex.quote(json.dumps({"rows": [row]}, ensure_ascii=False, default=str))
    address = shlex.quote(f"{card.url}/v1/models/{card.model}/predict")
    command = f"curl -sS {address} \\\n  -H 'content-type: application/json' \\\n  -d {body}"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", command)), default=0))
    return f"{fence}sh\n{command}\n{fence}"


def _example(column: Column) -> str | float | bool | None:
    """The column's example; an integer without a decimal point."""
    return int(column.example) if column.kind == "integer" and column.example is not None else column.example
