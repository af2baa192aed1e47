"""Run as a script: reads an Arrow or Parquet body in a process of its own, and writes plain columns to standard output.

Native parsers can be made to abort, or to ask for all memory, by a few wrong bytes. Here that ends nobody but this
process, which may use so much memory and time and no more. It knows the columns that it is told, and nothing of models;
it imports nothing of Treadle, so that it starts in a tenth of a second.

Standard input is the task as JSON, the body an open file whose number is the only argument. Standard output is frames,
a length (4 bytes, little end first) and msgpack: `{"rows": n}` once the whole body was checked, then a frame a batch, then
`{"end": true}`; or `{"refused": {...}}` instead of all that.
"""

from __future__ import annotations

import math
import os
import resource
import struct
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, NoReturn

import msgspec
import numpy as np
from arro3.core import Array, DataType
from arro3.io import read_ipc, read_ipc_stream, read_parquet

BATCH_ROWS = 2048
BATCH_TEXT = 4_000_000
"""Characters of text in a batch: few bytes can name the same long text in every row."""
MAX_TEXT = 10_000
MAX_ID = 128
MEMORY_BYTES = 1 << 30
CPU_S = 120
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC).timestamp(), datetime(2201, 1, 1, tzinfo=UTC).timestamp()


class Task(msgspec.Struct):
    """What to read.

    Attributes:
        form: `stream`, `file` or `parquet`.
        columns: Name, kind and the two texts of a truth, a column of the model.
        ids: The column of the caller's ids.
        at: The column of event times.
        max_rows: More rows are refused.
        max_text: More characters of text are refused, however few bytes they are in.
    """

    form: str
    columns: list[tuple[str, str, tuple[str, str] | None]]
    ids: str | None
    at: str | None
    max_rows: int
    max_text: int


class Refused(Exception):
    """A body that cannot be answered."""

    def __init__(self, detail: str, status: int = 422, column: str | None = None, row: int | None = None) -> None:
        super().__init__(detail)
        self.said = {"detail": detail, "status": status, "column": column, "row": row}


def main() -> None:
    """Check the whole body first, so that a wrong one is refused before any row of it is answered; then hand it on."""
    body = os.fdopen(int(sys.argv[1]), "rb")
    most = MEMORY_BYTES + 2 * os.fstat(body.fileno()).st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    try:
        _send({"rows": _check(body, task)})
        for batch in _batches(body, task):
            _send(batch)
        _send({"end": True})
    except Refused as error:
        _send({"refused": error.said})
    except BrokenPipeError:
        pass
    except BaseException:  # noqa: BLE001 - panics of the native reader are no Exception
        _send({"refused": {"detail": "The body cannot be read; is it whole, and of its Content-Type?", "status": 400}})


def _send(frame: Any) -> None:
    content = msgspec.msgpack.encode(frame)
    sys.stdout.buffer.write(struct.pack("<I", len(content)) + content)
    sys.stdout.buffer.flush()


def _check(body: BinaryIO, task: Task) -> int:
    """The number of rows; every value of them fits."""
    rows, seen = 0, set[str]()
    for batch in _batches(body, task):
        rows += batch["count"]
        if batch["ids"] is not None:
            seen.update(batch["ids"])
            if len(seen) != rows:
                raise Refused("The ids have the same id twice; each prediction needs its own.", column=task.ids)
    if rows == 0:
        raise Refused("There are no rows; send at least one.")
    return rows


def _batches(body: BinaryIO, task: Task) -> Iterator[dict[str, Any]]:
    """The body from its beginning, in pieces of `BATCH_ROWS` and, but for single rows, `BATCH_TEXT` at most."""
    body.seek(0)
    reader = {"stream": read_ipc_stream, "file": read_ipc, "parquet": read_parquet}[task.form](body)
    _check_names(reader.schema.names, task)
    begin = text = 0
    for batch in reader:
        if begin + batch.num_rows > task.max_rows:
            raise Refused(f"There are more than {task.max_rows:,} rows; send fewer at once.", 413)
        for offset in range(0, batch.num_rows, BATCH_ROWS):
            some = batch.slice(offset, min(BATCH_ROWS, batch.num_rows - offset))
            for piece, characters in _pieces(some, task, begin + offset):
                text += characters
                if text > task.max_text:
                    raise Refused(
                        f"There are more than {task.max_text:,} characters of text; send fewer rows at once.", 413
                    )
                yield piece
        begin += batch.num_rows
    if task.form == "stream" and body.read(1):  # the other forms are read from their end
        raise Refused("Bytes follow the end of the Arrow stream; send one stream, and nothing behind it.", 400)


def _pieces(batch: Any, task: Task, begin: int) -> Iterator[tuple[dict[str, Any], int]]:
    """A batch as one piece, or halved until there is not too much text in a piece; each with its characters of text."""
    piece = _piece(batch, task, begin)
    characters = _text_of(piece)
    if characters <= BATCH_TEXT or batch.num_rows == 1:
        yield piece, characters
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), task, begin)
    yield from _pieces(batch.slice(half, batch.num_rows - half), task, begin + half)


def _text_of(piece: dict[str, Any]) -> int:
    """Characters of text in a piece."""
    return sum(sum(map(len, values)) for values in piece["columns"].values() if isinstance(values, list))


def _check_names(names: list[str], task: Task) -> None:
    wanted = [name for name, _, _ in task.columns]
    also = [name for name in (task.ids, task.at) if name is not None]
    for name in [*wanted, *also]:
        if name not in names:
            raise Refused(f"The column '{name}' is missing.", column=name)
    if len(set(names)) != len(names):
        raise Refused("A column is there twice.")
    for name in names:
        if name not in wanted and name not in also:
            shown = name if len(name) <= 64 and name.isprintable() else "(unprintable)"
            raise Refused(f"Unknown column '{shown}'. The model takes: {', '.join(wanted)[:1000]}.", column=shown)


def _piece(batch: Any, task: Task, begin: int) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, kind, tokens in task.columns:
        try:
            columns[name] = _READERS[kind](batch.column(name), name, tokens)
        except _Wrong as error:
            row = None if error.row is None else begin + error.row
            raise Refused(f"'{name}' must be {error.wanted}.", column=name, row=row) from None
    return {
        "count": batch.num_rows,
        "columns": columns,
        "ids": None if task.ids is None else _ids(batch.column(task.ids), task.ids, begin),
        "at": None if task.at is None else _times_known(batch.column(task.at), task.at, begin),
    }


class _Wrong(Exception):
    """A column, or a value of it, that is not of its kind."""

    def __init__(self, wanted: str, row: int | None = None) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.row = row


def _wrong(wanted: str, bad: np.ndarray) -> NoReturn:
    raise _Wrong(wanted, int(np.argmax(bad)))


def _floats(array: Array) -> np.ndarray:
    """Numbers (n,) as float64, NaN where null."""
    wide = array.cast(DataType.float64())
    return wide.to_numpy() if wide.null_count == 0 else np.array(wide.to_pylist(), dtype=np.float64)


def _texts(array: Array) -> Sequence[str | None] | None:
    """Texts; `None` if it is no column of texts."""
    kind = array.type
    if DataType.is_null(kind):
        return [None] * len(array)
    if DataType.is_dictionary(kind):
        kind = kind.value_type
    if kind is None or not (
        DataType.is_string(kind) or DataType.is_large_string(kind) or DataType.is_string_view(kind)
    ):
        return None
    return array.cast(DataType.utf8()).to_pylist()  # type: ignore[return-value] - the stub says an array of numpy


def _number(array: Array, _name: str, _tokens: object) -> bytes:
    kind = array.type
    if not (DataType.is_integer(kind) or DataType.is_floating(kind) or DataType.is_null(kind)):
        raise _Wrong("a column of numbers")
    values = _floats(array)
    if np.isinf(values).any():
        _wrong("a finite number; send null if it is not known", np.isinf(values))
    return values.tobytes()


def _boolean(array: Array, _name: str, tokens: tuple[str, str] | None) -> bytes:
    texts = _texts(array) if tokens else None
    if texts is not None and tokens is not None:
        codes = {None: math.nan, "": math.nan, tokens[0]: 0.0, tokens[1]: 1.0}
        values = np.array([codes.get(text, 2.0) for text in texts], dtype=np.float64)
    elif any(
        test(array.type) for test in (DataType.is_boolean, DataType.is_integer, DataType.is_floating, DataType.is_null)
    ):
        values = _floats(array)
    else:
        raise _Wrong("a column of true and false")
    odd = ~(np.isnan(values) | (values == 0) | (values == 1))
    if odd.any():
        _wrong("true or false", odd)
    return values.tobytes()


def _time(array: Array, _name: str, _tokens: object) -> bytes:
    return _seconds(array).tobytes()


def _seconds(array: Array) -> np.ndarray:
    """Times (n,) as seconds since 1970, NaN where null; without a zone they are UTC."""
    kind = array.type
    if DataType.is_date32(kind):
        seconds = _floats(array.cast(DataType.int32())) * 86400.0
    elif DataType.is_date64(kind):
        seconds = _floats(array.cast(DataType.int64())) / 1e3
    elif DataType.is_timestamp(kind):
        seconds = _floats(array.cast(DataType.int64())) / UNITS[kind.time_unit or "us"]
    elif (texts := _texts(array)) is not None:
        seconds = np.array([_moment(text, row) for row, text in enumerate(texts)], dtype=np.float64)
    else:
        raise _Wrong("a column of timestamps, dates, or ISO 8601 times")
    far = (seconds < EARLIEST) | (seconds >= LATEST)
    if far.any():
        _wrong("between the years 1900 and 2200", far)
    return seconds


def _moment(text: str | None, row: int) -> float:
    if not text:
        return math.nan
    try:
        moment = datetime.fromisoformat(text)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        raise _Wrong("an ISO 8601 time", row) from None


def _category(array: Array, _name: str, _tokens: object) -> list[str]:
    texts = _texts(array)
    if texts is None:
        raise _Wrong("a column of texts")
    read = [text or "" for text in texts]
    if max(map(len, read), default=0) > MAX_TEXT:
        raise _Wrong(f"no longer than {MAX_TEXT} characters", max(range(len(read)), key=lambda row: len(read[row])))
    return read


_READERS: dict[str, Any] = {
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
    "datetime": _time,
    "category": _category,
}


def _ids(array: Array, name: str, begin: int) -> list[str]:
    texts = _texts(array)
    if texts is None:
        raise Refused(f"The ids, '{name}', must be a column of texts.", column=name)
    for row, text in enumerate(texts):
        if not text or len(text) > MAX_ID or not text.isprintable():
            raise Refused(f"An id must be 1 to {MAX_ID} printable characters.", column=name, row=begin + row)
    return [text or "" for text in texts]


def _times_known(array: Array, name: str, begin: int) -> list[float]:
    try:
        seconds = _seconds(array)
    except _Wrong as error:
        row = None if error.row is None else begin + error.row
        raise Refused(f"'{name}' must be {error.wanted}.", column=name, row=row) from None
    if np.isnan(seconds).any():
        raise Refused(
            f"'{name}' must have a time in every row.", column=name, row=begin + int(np.argmax(np.isnan(seconds)))
        )
    return seconds.tolist()


if __name__ == "__main__":
    main()
