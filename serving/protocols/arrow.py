"""Arrow and Parquet: large requests read by a process of their own, and answers written batch by batch.

Knows bodies, columns and answers; nothing of routes or of the ledger. Needs the extra `arrow`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from typing import Protocol as Interface

import msgspec
import numpy as np

from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from serving.protocols.protocol import Answered, Asked
from treadle.models.bundle import Manifest
from treadle.models.plain import EPOCH

STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
PARQUET, JSON = "application/vnd.apache.parquet", "application/json"
FORMS = {STREAM: "stream", FILE: "file", PARQUET: "parquet"}
READER = Path(__file__).with_name("arrow_reader.py")
FRAME_S = 60.0
"""A reader that says nothing for so long is killed, seconds."""
LINGER_S = 0.2
"""A reader that is not needed any more gets so long to end by itself, seconds."""
MOST_FRAME_BYTES = 256 * 1024 * 1024
UNREADABLE = "The body cannot be read; is it whole, and of its Content-Type?"


class Refusal(msgspec.Struct):
    """What the reader says of a body that it refuses."""

    detail: str
    status: int
    column: str | None = None
    row: int | None = None


class Frame(msgspec.Struct):
    """What the reader says: one of the four."""

    rows: int | None = None
    columns: dict[str, bytes | list[str]] | None = None
    count: int = 0
    ids: list[str] | None = None
    at: list[float] | None = None
    refused: Refusal | None = None
    end: bool = False


@dataclass(frozen=True)
class Wanted:
    """What the caller says of a body besides its columns.

    Attributes:
        form: `stream`, `file` or `parquet`.
        ids: The column that has his prediction ids.
        at: The column that has the event times.
        max_rows: More rows are refused.
        max_text: More characters of text are refused, however few bytes they are in.
    """

    form: str
    ids: str | None
    at: str | None
    max_rows: int
    max_text: int


def media_type(header: str) -> str:
    """A Content-Type without its parameters."""
    return header.partition(";")[0].strip().lower()


def require() -> None:
    """Check that Arrow can be read here.

    Raises:
        BadRequest: The extra is not installed.
    """
    if importlib.util.find_spec("arro3") is None or importlib.util.find_spec("arro3.io") is None:
        raise BadRequest(
            "This service was installed without Arrow and Parquet: send the rows as JSON, or have them added, by "
            "`pip install '.[arrow]'` in its checkout or by the image of deploy/arrow.Dockerfile.",
            415,
        )


def answer_form(accept: str, body_type: str) -> str:
    """The form of the answer: the first that Accept names and that is known; the body's own for any.

    Raises:
        BadRequest: Accept names none that is known.

    >>> answer_form("text/html, application/json;q=0.9", PARQUET)
    'application/json'
    """
    own = PARQUET if body_type == PARQUET else STREAM
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        kind = media_type(part)
        if kind in ("*/*", "application/*"):
            return own
        if kind in (STREAM, PARQUET, JSON):
            return kind
    raise BadRequest(f"Accept must name one of {STREAM}, {PARQUET}, {JSON}.", 406)


@asynccontextmanager
async def reading(
    body: BinaryIO, manifest: Manifest, wanted: Wanted
) -> AsyncIterator[tuple[int, AsyncIterator[Asked]]]:
    """The number of rows of a body and its batches, read by a process that is killed when this is left.

    Raises:
        BadRequest: The body is not of its form, or does not fit the model. It is told before the first batch.
    """
    task = msgspec.json.encode(
        {
            "form": wanted.form,
            "columns": [(column.name, column.kind, column.tokens) for column in manifest.columns],
            "ids": wanted.ids,
            "at": wanted.at,
            "max_rows": wanted.max_rows,
            "max_text": wanted.max_text,
        }
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        str(READER),
        str(body.fileno()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(body.fileno(),),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"},
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes, which the types do not say
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(task)
        process.stdin.close()
        first = await _frame(process.stdout)
        if first.rows is None:
            raise BadRequest(UNREADABLE, 400)
        yield first.rows, _batches(process.stdout, manifest)
    finally:
        await _end(process, process.stdout)


async def _end(process: asyncio.subprocess.Process, stdout: asyncio.StreamReader) -> None:
    """Wait for a reader that has said everything, and kill any other; its pipe is emptied, or the wait would not end."""
    try:
        async with asyncio.timeout(LINGER_S):
            await _drain(stdout)
    except TimeoutError:
        pass
    finally:
        if not stdout.at_eof():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    await _drain(stdout)
    await process.wait()


async def _drain(stdout: asyncio.StreamReader) -> None:
    while await stdout.read(1 << 16):
        pass


async def _batches(stream: asyncio.StreamReader, manifest: Manifest) -> AsyncIterator[Asked]:
    while not (frame := await _frame(stream)).end:
        yield _asked(frame, manifest)


_frames = msgspec.msgpack.Decoder(Frame)


async def _frame(stream: asyncio.StreamReader) -> Frame:
    """The reader's next frame.

    Raises:
        BadRequest: It refuses the body, or died of it.
    """
    try:
        async with asyncio.timeout(FRAME_S):
            size = int.from_bytes(await stream.readexactly(4), "little")
            content = await stream.readexactly(min(size, MOST_FRAME_BYTES))
        frame = _frames.decode(content)
    except (asyncio.IncompleteReadError, TimeoutError, msgspec.MsgspecError):
        raise BadRequest(UNREADABLE, 400) from None
    if frame.refused is not None:
        said = frame.refused
        raise BadRequest(said.detail, said.status, column=said.column, row=said.row)
    return frame


def _asked(frame: Frame, manifest: Manifest) -> Asked:
    columns: dict[str, np.ndarray] = {}
    for column in manifest.columns:
        values = (frame.columns or {}).get(column.name, b"")
        if isinstance(values, list):
            columns[column.name] = np.array(values, dtype=object)
        else:
            columns[column.name] = np.frombuffer(values, dtype=np.float64)
        if len(columns[column.name]) != frame.count:
            raise BadRequest(UNREADABLE, 400)
    at = None if frame.at is None else [EPOCH + timedelta(seconds=seconds) for seconds in frame.at]
    return Asked(columns, frame.count, ids=frame.ids, at=at)


class Writer(Interface):
    """Writes the answers of one request; they are of one version."""

    def batch(self, answered: Answered) -> bytes:
        """What goes out for a batch."""
        ...

    def end(self) -> bytes:
        """What goes out last."""
        ...


def writer(form: str, model: ServedModel) -> Writer:
    """The writer of a form of answer."""
    return {STREAM: ArrowWriter, PARQUET: ParquetWriter, JSON: JsonWriter}[form](model)


class JsonWriter:
    """As `predict` answers JSON."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._begun = False

    def batch(self, answered: Answered) -> bytes:
        """The batch's predictions; the first has the answer's head before it."""
        answers = self._model.shape_answer(answered.values)
        rows = [{"id": name, **answer} for name, answer in zip(answered.ids, answers, strict=True)]
        begin = b"," if self._begun else self._model.prefix + b"["
        self._begun = True
        return begin + msgspec.json.encode(rows)[1:-1]

    def end(self) -> bytes:
        """The rest of the object."""
        return b"]}"


class ArrowWriter:
    """An Arrow IPC stream: the schema once, then a record batch a batch."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._head_bytes = 0

    def batch(self, answered: Answered) -> bytes:
        """The record batch; the writer makes whole streams, of which this takes the middle."""
        batch = _table(self._model, answered.ids, answered.values)
        stream, begin = _ipc(batch)[: -len(_END)], self._head_bytes
        self._head_bytes = len(_ipc_head(batch.schema))
        return stream[begin:]

    def end(self) -> bytes:
        """The end-of-stream marker."""
        return _END


class ParquetWriter:
    """A Parquet file; its footer comes last, so all answers are kept until then."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._tables: list[Any] = []

    def batch(self, answered: Answered) -> bytes:
        """Nothing yet."""
        self._tables.append(_table(self._model, answered.ids, answered.values))
        return b""

    def end(self) -> bytes:
        """The whole file."""
        from arro3.core import Table
        from arro3.io import write_parquet

        file = io.BytesIO()
        write_parquet(Table.from_batches(self._tables), file, compression="zstd(1)")
        return file.getvalue()


_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def _ipc(data: Any) -> bytes:
    from arro3.io import write_ipc_stream

    file = io.BytesIO()
    write_ipc_stream(data, file)
    return file.getvalue()


def _ipc_head(schema: Any) -> bytes:
    """The part of a stream that comes before its batches."""
    from arro3.core import Table

    return _ipc(Table.from_batches([], schema=schema))[: -len(_END)]


def _table(model: ServedModel, ids: Sequence[str], values: np.ndarray) -> Any:
    """A record batch of `id`, `prediction`, and `probability_<class>` for each class."""
    from arro3.core import Array, DataType, RecordBatch

    classes = model.manifest.classes
    numbers = np.ascontiguousarray(values, dtype=np.float64)
    columns: dict[str, Any] = {"id": Array(list(ids), DataType.utf8())}
    if classes is None:
        columns["prediction"] = Array.from_numpy(numbers.reshape(-1))
    else:
        best = [classes[k] for k in numbers.argmax(axis=1).tolist()]
        columns["prediction"] = Array(best, DataType.utf8())
        for k, name in enumerate(classes):
            columns[f"probability_{name}"] = Array.from_numpy(np.ascontiguousarray(numbers[:, k]))
    said: Mapping[str, str] = {"model": model.name, "version": str(model.version), "digest": model.digest}
    return RecordBatch.from_pydict(columns, metadata=dict(said))
