"""MLflow's scoring protocol: what `mlflow models serve` takes and answers, for clients that were written for it.

Reads JSON in MLflow's four forms, and CSV. Without pandas: values are coerced as MLflow's signature enforcement does it
for the signatures that Treadle writes, and docs/protocols.md tells where Treadle is stricter.

Source: mlflow/pyfunc/scoring_server/__init__.py and mlflow/utils/proto_json_utils.py of MLflow 3.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from serving.answering.decode import check_own_ids, event_times, read_column
from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from serving.protocols.protocol import Answered, Asked, Reply
from treadle.errors import TreadleError
from treadle.models.bundle import ManifestColumn

MOST_IDS = 32
"""So many prediction ids fit into a header; callers of larger requests bring their own."""

MOST_REPEATED = 16 * 1024 * 1024
"""Characters that single values may become when they are given to every row; a body of JSON has no more by itself."""

Table = dict[str, list[Any]]
"""Column name -> values, all of one length. Columns that the model does not have are left out where they would cost something."""

# The texts that pandas.read_csv takes for a missing value.
_MISSING = frozenset(
    (
        *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
    )
)
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class Scoring:
    """The protocol of `mlflow models serve`."""

    name = "invocations"

    def read(self, body: bytes, headers: Mapping[str, str], model: ServedModel, max_rows: int) -> Asked:
        """Read a body by its Content-Type.

        Raises:
            BadRequest: It is neither JSON of one of the four forms nor CSV, or does not fit the model.
        """
        names = [column.name for column in model.manifest.columns]
        if _media_type(headers.get("content-type", "")) == "text/csv":
            table, said = _table_of_csv(body, max_rows), {}
        else:
            form, content, said = _form_of(body)
            table = _FORMS[form](content, names, max_rows)
        for name in names:
            if name not in table:
                raise BadRequest(f"The column '{name}' is missing; send null if its value is not known.", column=name)
        count = len(table[names[0]])
        columns = {c.name: read_column(_coerce(table[c.name], c), c) for c in model.manifest.columns}
        for name, values in columns.items():
            _refuse_infinite(name, values)
        ids = _own_ids(said.get("ids"), count)
        return Asked(columns, count, ids=ids, at=_own_times(said.get("at"), count))

    def write(self, answered: Answered) -> Reply:
        """`{"predictions": […]}`: numbers, or lists of probabilities in the order of the classes."""
        model = answered.model
        headers = {
            "content-type": "application/json",
            "x-model-version": str(model.version),
            "x-model-digest": model.digest,
        }
        if len(answered.ids) <= MOST_IDS and all(name.isascii() and "," not in name for name in answered.ids):
            headers["x-prediction-ids"] = ",".join(answered.ids)
        return Reply(msgspec.json.encode({"predictions": answered.values.tolist()}), headers)

    def refuse(self, error: TreadleError, path: str) -> Reply:  # noqa: ARG002 - the protocol's errors name no path
        """`{"error_code", "message"}`; a value that does not fit is a 400, as MLflow has it."""
        status = 400 if error.status == 422 else error.status
        content = {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": str(error)}
        again = {"retry-after": "1"} if status == 503 else {}
        headers = {"content-type": "application/json"} | again | getattr(error, "headers", {})
        return Reply(msgspec.json.encode(content), headers, status)


def _media_type(header: str) -> str:
    """The type of the body; its only parameter may be `charset=utf-8`."""
    kind, *parameters = [part.strip().lower() for part in header.split(";")]
    if kind not in ("application/json", "text/csv"):
        raise BadRequest("Content-Type must be application/json or text/csv.", 415)
    for parameter in parameters:
        if parameter.replace('"', "") not in ("", "charset=utf-8", "charset=utf8"):
            raise BadRequest("The only parameter that Content-Type may have is charset=utf-8.", 415)
    return kind


def _form_of(body: bytes) -> tuple[str, Any, dict[str, Any]]:
    """The form's key, what is under it, and `params`, of which Treadle knows `ids` and `at`; others are ignored."""
    content = _json(body)
    found = [key for key in _FORMS if key in content] if isinstance(content, dict) else []
    if len(found) != 1:
        known = ", ".join(_FORMS)
        raise BadRequest(f"The body must be a JSON object with exactly one of the keys {known}.", 400)
    params = content.get("params")
    return found[0], content[found[0]], params if isinstance(params, dict) else {}


def _json(body: bytes) -> Any:
    """JSON, in which MLflow's clients write NaN for what is missing; msgspec is fast but knows no NaN."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        content = json.loads(body.decode("utf-8"))
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON in UTF-8.", 400) from None
    return content


def _of_split(content: Any, names: Sequence[str], most: int) -> Table:
    """`{"columns": […], "data": [[…], …], "index": […]}`."""
    if not isinstance(content, dict) or "data" not in content or content.keys() - {"columns", "data", "index"}:
        raise BadRequest("dataframe_split must be an object with data, columns and, if you like, index.", 400)
    data, columns, index = content["data"], content.get("columns"), content.get("index")
    if not isinstance(data, list) or not data or (isinstance(index, list) and len(index) != len(data)):
        raise BadRequest("dataframe_split must have rows as data, at least one, and no other number in index.", 400)
    if all(isinstance(row, dict) for row in data):
        return _of_records(data, names, most)
    _check_count(len(data), most)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise BadRequest("dataframe_split must name its columns.", 400)
    _refuse_repeated(columns)
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadRequest("A row of dataframe_split must have one value a column.", 400, row=number)
    return dict(zip(columns, map(list, zip(*data, strict=True)), strict=True))


def _of_records(rows: Any, names: Sequence[str], most: int) -> Table:
    """`[{column: value}, …]`; a column that only some rows have is missing in the others.

    Only the model's: each of a few thousand rows may have some other column, and the table of all would have millions of values.
    """
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadRequest("The rows must be a list of objects {column: value}, at least one.", 400)
    _check_count(len(rows), most)
    return {name: [row.get(name) for row in rows] for name in names if any(name in row for row in rows)}


def _of_inputs(content: Any, names: Sequence[str], most: int) -> Table:
    """Records, or columns, or one row; a plain list is the column of a model that has only one."""
    if isinstance(content, dict):
        return _of_columns(content, names, most)
    if isinstance(content, list) and len(names) == 1 and not any(isinstance(value, dict) for value in content):
        _check_count(len(content), most)
        return {names[0]: content}
    return _of_records(content, names, most)


def _of_instances(content: Any, names: Sequence[str], most: int) -> Table:
    """As `inputs`, but all rows must have the same columns."""
    table = _of_inputs(content, names, most)
    if isinstance(content, list) and any(isinstance(row, dict) and row.keys() != content[0].keys() for row in content):
        raise BadRequest("The rows of instances must all have the same columns.", 400)
    return table


def _of_columns(content: dict[str, Any], names: Sequence[str], most: int) -> Table:
    """`{column: [values]}`; a column of one value has it in every row."""
    counts = {len(values) for values in content.values() if isinstance(values, list)}
    if len(counts) > 1:
        raise BadRequest("The columns must all have the same number of values.", 400)
    count = counts.pop() if counts else 1
    _check_count(count, most)
    known = {name: content[name] for name in names if name in content}
    if count * sum(len(str(value)) for value in known.values() if isinstance(value, str | int)) > MOST_REPEATED:
        raise BadRequest("Values that are given once are too long to be in every row; send fewer rows.", 413)
    return {name: values if isinstance(values, list) else [values] * count for name, values in known.items()}


_FORMS: dict[str, Callable[[Any, Sequence[str], int], Table]] = {
    "dataframe_split": _of_split,
    "dataframe_records": _of_records,
    "instances": _of_instances,
    "inputs": _of_inputs,
}


def _table_of_csv(body: bytes, most: int) -> Table:
    """CSV with a header row; blank lines do not count."""
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        lines = list(islice(filter(None, csv.reader(text, strict=True)), most + 2))
    except (UnicodeDecodeError, csv.Error):
        raise BadRequest("The body is not CSV in UTF-8.", 400) from None
    if len(lines) < 2:
        raise BadRequest("The CSV must have a header row and at least one row below it.", 400)
    header, *rows = lines
    _check_count(len(rows), most)
    _refuse_repeated(header)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise BadRequest("A row of the CSV must have as many values as its header.", 400, row=number)
    values = ([None if value in _MISSING else value for value in column] for column in zip(*rows, strict=True))
    return dict(zip(header, values, strict=True))


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise BadRequest("A column is there twice.", 400)


def _check_count(count: int, most: int) -> None:
    """Refuse no rows, and too many, before there is a table of them."""
    if count == 0:
        raise BadRequest("There are no rows; send at least one.", 400)
    if count > most:
        raise BadRequest(f"These are too many rows for one request; send at most {most}.", 413)


def _coerce(values: list[Any], column: ManifestColumn) -> list[Any]:
    """Values as Treadle's own protocol would have them, where MLflow's enforcement takes more than that."""
    types = set(map(type, values))
    if column.kind == "category":
        return values if types == {str} else [_text(value) for value in values]
    if column.kind == "datetime":
        return [None if _is_nan(value) else value for value in values] if float in types else values
    if column.kind == "boolean":
        return [_truth(value) for value in values]
    return values if types == {float} else [_number(value) for value in values]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _text(value: Any) -> Any:
    """Numbers and truths become text, whole numbers without a fraction, as in the tables that were learned from.

    Infinity stays a number, which is refused.
    """
    if value is None or _is_nan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, bool | int | float) else value


def _number(value: Any) -> Any:
    """Truths and numbers as text become numbers; NaN is a missing value."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if _is_nan(value):
        return None
    return float(value) if isinstance(value, bool) else value


def _truth(value: Any) -> Any:
    """Zero and one, also as text, become truths."""
    number = _number(value)
    return bool(number) if isinstance(number, int | float) and number in (0, 1) else number


def _refuse_infinite(name: str, values: np.ndarray) -> None:
    if values.dtype != object and (infinite := np.isinf(values)).any():
        raise BadRequest(f"'{name}' must be a finite number.", column=name, row=int(infinite.argmax()))


def _own_ids(ids: Any, rows: int) -> list[str] | None:
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise BadRequest("`params.ids` must be a list of texts, one a row.")
    check_own_ids(ids, rows)
    return ids


def _own_times(at: Any, rows: int) -> Any:
    if at is None:
        return None
    given = at if isinstance(at, list) else [at] * rows
    if len(given) != rows or not all(isinstance(text, str) for text in given):
        raise BadRequest("`params.at` must be a time, or a list of times, one a row.")
    return event_times(given, rows)
