"""From a request body to columns: JSON decoded by msgspec, every value checked against the model's manifest.

The first thing that is wrong is the error, with its column and row; nothing of the body is repeated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np

from serving.problem_details import BadRequest
from treadle.errors import nearest
from treadle.ledger import Feedback
from treadle.models.bundle import Manifest, ManifestColumn
from treadle.models.plain import EPOCH

MAX_ID = 128
MAX_TEXT = 10_000


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """`{"rows": [{column: value}], "ids": [...], "at": time or [times]}`."""

    rows: list[dict[str, Any]]
    ids: list[str] | None = None
    at: str | list[str] | None = None


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """One label of one prediction."""

    id: str
    label: str | float | int | bool
    at: str | None = None


class FeedbackBody(msgspec.Struct, forbid_unknown_fields=True):
    """`{"labels": [{"id", "label", "at"?}], "keep_early"?}`."""

    labels: list[Label]
    keep_early: bool = False


_predict = msgspec.json.Decoder(PredictBody)
_feedback = msgspec.json.Decoder(FeedbackBody)


def decode_predict(body: bytes, max_rows: int) -> PredictBody:
    """Read a predict body and check its frame; the rows are checked by `to_columns`.

    Raises:
        BadRequest: It is not such a body, is empty, or has too many rows.
    """
    request: PredictBody = _decode(_predict, body, '{"rows": [{column: value}]}')
    _check_count(len(request.rows), max_rows, "rows")
    if request.ids is not None:
        check_own_ids(request.ids, len(request.rows))
    if isinstance(request.at, list) and len(request.at) != len(request.rows):
        times, rows = len(request.at), len(request.rows)
        raise BadRequest(f"`at` has {times} times for {rows} rows; give one each, or one for all.")
    return request


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes, shape: str) -> Any:
    if not body:
        raise BadRequest(f"The body is empty; send {shape}.", 400)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body is not {shape}: {_harmless(error)}", 422) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = " JSON has no NaN: send null for what is not known." if b"NaN" in body else ""
        raise BadRequest(f"The body is not JSON in UTF-8: {_harmless(error).rstrip('.')}.{hint}", 400) from None


def _harmless(error: Exception) -> str:
    """What a decoder says, without field names of the caller's."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return re.sub(r"`[^`]{40,}`", "`…`", str(error))[:200].encode("ascii", "replace").decode()


def _check_count(count: int, most: int, what: str) -> None:
    if count == 0:
        raise BadRequest(f"`{what}` is empty; send at least one.")
    if count > most:
        raise BadRequest(f"{count} {what} are too many for one request; send at most {most}.", 413)


def check_own_ids(ids: list[str], rows: int) -> None:
    """Check the ids that a caller gave to his rows.

    Raises:
        BadRequest: There is not one each, one is there twice, or is no id.
    """
    if len(ids) != rows:
        raise BadRequest(f"`ids` has {len(ids)} entries for {rows} rows; give one each.")
    if len(set(ids)) != rows:
        raise BadRequest("`ids` has the same id twice; each prediction needs its own.")
    _check_ids(ids)


def _check_ids(ids: Sequence[str]) -> None:
    for row, name in enumerate(ids):
        if not 0 < len(name) <= MAX_ID or not name.isprintable():
            raise BadRequest(f"The id of row {row} must be 1 to {MAX_ID} printable characters.", row=row)


def event_times(at: str | list[str] | None, rows: int) -> list[datetime] | None:
    """The event time of each row; `None`, which is now, where none was sent.

    Raises:
        BadRequest: One is not an ISO 8601 time.
    """
    if at is None:
        return None
    if isinstance(at, str):
        return [_moment(at, None, "at")] * rows
    return [_moment(text, row, "at") for row, text in enumerate(at)]


def moment_of(text: str) -> datetime | None:
    """An ISO 8601 time of the years 1900 to 2200 in UTC, which is meant where no zone is given; else `None`."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if 1900 <= moment.year <= 2200 else None


def _moment(text: str, row: int | None, column: str) -> datetime:
    moment = moment_of(text)
    if moment is None:
        detail = f"`{column}` must be an ISO 8601 time between the years 1900 and 2200."
        raise BadRequest(detail, column=column, row=row)
    return moment


def refuse_repeated_keys(body: bytes, request: PredictBody) -> None:
    """Refuse a body that says one thing twice; msgspec keeps the last and drops the others without a word.

    Rows must have passed `to_columns`. Counting quotes proves most bodies innocent in microseconds: what was kept has
    two for each key and each text, and a key that was dropped had two more. The others are read once more, slowly.

    Raises:
        BadRequest: An object has the same key twice.
    """
    if b"\\" not in body:
        texts = sum(len(row) + list(map(type, row.values())).count(str) for row in request.rows)
        texts += 1 + (request.ids is not None) + len(request.ids or ()) + (request.at is not None)
        texts += len(request.at) if isinstance(request.at, list) else request.at is not None
        if body.count(b'"') == 2 * texts:
            return
    _read_unique(body)


def _read_unique(body: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            raise BadRequest("The body has the same key twice in one object.", 400)

    json.loads(body, object_pairs_hook=check, parse_int=float)  # float: an int of many digits is slow to read


def to_columns(rows: Sequence[dict[str, Any]], manifest: Manifest) -> dict[str, np.ndarray]:
    """Rows as the ONNX inputs: float64 (n,) a number or time, text (n,) a category.

    Raises:
        BadRequest: A column is missing or unknown, or a value is not of its kind.
    """
    names = {column.name for column in manifest.columns}
    for index, row in enumerate(rows):
        if row.keys() != names:
            _say_odd(row, index, manifest)
    return {column.name: read_column([row[column.name] for row in rows], column) for column in manifest.columns}


def _say_odd(row: dict[str, Any], index: int, manifest: Manifest) -> None:
    """Raise for a row that has not exactly the model's columns; a misspelled one is told by its stranger."""
    known = [column.name for column in manifest.columns]
    strangers = sorted(row.keys() - set(known))
    if not strangers:
        name = next(name for name in known if name not in row)
        raise BadRequest(
            f"The column '{name}' is missing; send null if its value is not known.", column=name, row=index
        )
    shown = strangers[0] if len(strangers[0]) <= 64 and strangers[0].isprintable() else "(unprintable)"
    takes = ", ".join(sorted(known))[:1000]
    raise BadRequest(
        f"Unknown column '{shown}'.{nearest(shown, known)} The model takes: {takes}.", column=shown, row=index
    )


def read_column(values: list[Any], column: ManifestColumn) -> np.ndarray:
    """One column: whole when every value is of one plain type, else value by value, which finds what is wrong.

    Raises:
        BadRequest: A value is not of the column's kind.
    """
    types = set(map(type, values))
    if column.kind == "category":
        if types == {str} and max(map(len, values)) <= MAX_TEXT:
            return np.array(values, dtype=object)
    elif types == _PLAIN.get(column.kind):
        return np.array(values, dtype=np.float64)  # JSON has no NaN, and msgspec refuses what overflows
    convert, missing = _CONVERTERS[column.kind], "" if column.kind == "category" else math.nan
    read = [missing if v is None or v == "" else convert(v, column, row) for row, v in enumerate(values)]
    return np.array(read, dtype=object if column.kind == "category" else np.float64)


def _number(value: Any, column: ManifestColumn, row: int) -> float:
    if type(value) not in (int, float):
        raise BadRequest(f"'{column.name}' must be a number.", column=column.name, row=row)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        detail = f"'{column.name}' must be a finite number; send null if it is not known."
        raise BadRequest(detail, column=column.name, row=row)
    return number


def _boolean(value: Any, column: ManifestColumn, row: int) -> float:
    if value is True or value is False:
        return float(value)
    if column.tokens and isinstance(value, str) and value in column.tokens:
        return float(column.tokens.index(value))
    if type(value) in (int, float) and value in (0, 1):
        return float(value)
    raise BadRequest(f"'{column.name}' must be true or false.", column=column.name, row=row)


def _time(value: Any, column: ManifestColumn, row: int) -> float:
    if not isinstance(value, str):
        raise BadRequest(f"'{column.name}' must be an ISO 8601 time.", column=column.name, row=row)
    return (_moment(value, row, column.name) - EPOCH).total_seconds()


def _text(value: Any, column: ManifestColumn, row: int) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"'{column.name}' must be text.", column=column.name, row=row)
    if len(value) > MAX_TEXT:
        raise BadRequest(f"'{column.name}' is longer than {MAX_TEXT} characters.", column=column.name, row=row)
    return value


_PLAIN = {"number": {float}, "integer": {float}, "boolean": {bool}}
_CONVERTERS: dict[str, Callable[[Any, ManifestColumn, int], Any]] = {
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
    "datetime": _time,
    "category": _text,
}


class Labels(NamedTuple):
    """Labels of a request, and whether those that come before their prediction may wait for it."""

    labels: list[Feedback]
    keep_early: bool


def decode_feedback(body: bytes, manifest: Manifest, max_rows: int) -> Labels:
    """Read labels and check each against the model's target.

    Raises:
        BadRequest: It is not such a body, or a label is not what the model predicts: a finite number, or one of the
            classes.
    """
    request: FeedbackBody = _decode(_feedback, body, '{"labels": [{"id", "label"}]}')
    _check_count(len(request.labels), max_rows, "labels")
    _read_unique(body)
    _check_ids([label.id for label in request.labels])
    now = datetime.now(UTC)
    labels = []
    for row, label in enumerate(request.labels):
        at = now if label.at is None else _moment(label.at, row, "at")
        labels.append(Feedback(label.id, _label(label.label, manifest, row), at))
    return Labels(labels, request.keep_early)


def _label(value: Any, manifest: Manifest, row: int) -> str | float:
    if manifest.classes is None:
        return _number(value, ManifestColumn(manifest.target, "number"), row)
    text = str(value) if not isinstance(value, float) or not value.is_integer() else str(int(value))
    if text not in manifest.classes:
        some = ", ".join(manifest.classes[:20])
        raise BadRequest(f"'{manifest.target}' must be one of the classes: {some}.", column=manifest.target, row=row)
    return text
