"""The journal: answers on their way into the ledger. Local files that are appended to before a caller gets an answer.

Appending costs microseconds and needs no database, so one that is locked, restarted or slow holds up nobody. Whoever
holds the folder's lock (`Drain`) carries the frames into the ledger a moment later; after a kill, the next one does.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from treadle.errors import Unavailable
from treadle.ledger.segment import SEGMENT_BYTES, Segment, look, write_alone

log = logging.getLogger("treadle.ledger")

LARGE_BYTES = SEGMENT_BYTES // 4
"""A longer frame gets a file of its own."""
MOST_LEFT = 4
"""Segments that a writer keeps to use again; when the ledger falls behind it lets go of the oldest and makes new ones."""
HEADER = struct.Struct("<II")  # length and CRC-32 of what follows
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Entry(NamedTuple):
    """One answered row, as the ledger's table of predictions has it; times are microseconds since 1970 in UTC."""

    id: str
    model: str
    version: int
    at_us: int
    arrived_us: int
    features: str
    answer: str


Values = tuple[str, str, int, int, int, str, str]
"""What an `Entry` holds; where rows come by the thousand, making one of each would cost as much as reading it."""


class Exchange(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One answered request of the own protocol, as it came and went: its rows are taken apart when it is drained.

    A struct, since the lane makes one for each request: 0.05 µs, where a named tuple takes 0.25.
    """

    model: str
    version: int
    arrived_us: int
    request: bytes
    response: bytes


class Journal:
    """The end of a journal that one process writes; a kill -9 loses nothing that `append` returned from.

    Args:
        folder: Where the files are, `.treadle/journal/`.
        durable: Whether each append waits for the disk, which survives a power cut as well.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self.durable = durable
        self._lock = threading.Lock()
        self._segment: Segment | None = None
        self._left: deque[Segment] = deque()  # full ones, on their way

    def append(self, records: Sequence[Entry | Exchange]) -> None:
        """Write records, all or none.

        Raises:
            Unavailable: The disk is full or does not take them.
        """
        content = _encode(records)
        header = HEADER.pack(len(content), zlib.crc32(content))
        size = len(header) + len(content)
        with self._lock:
            try:
                if size > LARGE_BYTES:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    write_alone(self._folder, header + content, durable=self.durable)
                    self._sync_names()
                    return
                if self._segment is None or not self._segment.has_room(size):
                    self._segment = self._next()
                self._segment.append(header, content)
                if self.durable:
                    self._segment.sync(size)
            except OSError as error:
                raise Unavailable(f"The ledger's journal cannot be written: {error.strerror}.") from error

    def _next(self) -> Segment:
        """A segment to go on with: the oldest of those that were left, if it was carried meanwhile, or a new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while self._left and (self._left[0].is_gone or len(self._left) > MOST_LEFT):
            self._left.popleft().close()
        segment = self._left.popleft() if self._left and self._left[0].take_again() else Segment(self._folder)
        self._sync_names()
        if self._segment is not None:
            self._segment.leave()
            self._left.append(self._segment)
        return segment

    def _sync_names(self) -> None:
        if self.durable:
            _sync_folder(self._folder)

    def _close(self) -> None:
        """Leave all segments to be carried and removed."""
        for segment in (*self._left, self._segment):
            if segment is not None:
                segment.close()
        self._left.clear()
        self._segment = None

    def rest(self, after_s: float) -> None:
        """Let go of a segment that was begun longer ago, so that what callers sent does not stay in it."""
        with self._lock:
            if self._segment is not None and time.monotonic() - self._segment.begun > after_s:
                self._close()

    def close(self) -> None:
        """End; what was appended stays until it is drained."""
        with self._lock:
            self._close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_frames(content: bytes) -> Iterator[tuple[int, list[list[Any]]]]:
    """Whole frames from the beginning of `content`, each with the offset at which it ends.

    Stops at the zeros that nothing was written to yet, and at the first frame that is not whole: it is still being written,
    or was when its writer died.
    """
    view = memoryview(content)
    offset = 0
    while len(content) >= offset + HEADER.size:
        length, checksum = HEADER.unpack_from(content, offset)
        begin, end = offset + HEADER.size, offset + HEADER.size + length
        frame = view[begin:end]
        if not length or end > len(content) or zlib.crc32(frame) != checksum:
            return
        yield end, _decode(frame)
        offset = end


def on_their_way(folder: Path, model: str, ids: Collection[str]) -> set[str]:
    """Which of some predictions of a model are in the journals of a folder: answered, and perhaps not in the ledger yet."""
    found: set[str] = set()
    for path in look(folder).journals:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # carried meanwhile
            continue
        for _, records in read_frames(content):
            found |= {name for name, of, *_ in entries(records) if of == model and name in ids}
    return found


class _Rows(msgspec.Struct):
    rows: list[msgspec.Raw]


class _Answers(msgspec.Struct):
    predictions: list[msgspec.Raw]


_rows = msgspec.json.Decoder(_Rows).decode
_answers = msgspec.json.Decoder(_Answers).decode
_ANSWER = '{"id":"'
"""How each answer begins, with an id that is hex. Within a text its quotes would be escaped, so it stands nowhere else."""
_ANSWER_BYTES = _ANSWER.encode()


def entries(records: Sequence[Sequence[Any]]) -> list[Values]:
    """The rows of a frame's records, each as an `Entry` has it."""
    found: list[Values] = []
    for record in records:
        if len(record) == len(Entry._fields):
            found.append(cast("Values", tuple(record)))
        elif record[-1].count(_ANSWER_BYTES) == 1:
            found.append(_only_row(*record))
        else:
            found += _all_rows(*record)
    return found


def _only_row(model: str, version: int, arrived: int, request: bytes, response: bytes) -> Values:
    """The row of an exchange that has one: cut out, for two thirds of what parsing costs.

    A request holds `rows` and nulls, so its one row is what stands between its second brace and its last but one.
    """
    name, _, rest = response.decode().partition(_ANSWER)[2].partition('",')
    text = request.decode()
    begin, end = text.index("{", text.index("{") + 1), text.rindex("}", 0, text.rindex("}"))
    return name, model, version, arrived, arrived, text[begin : end + 1], "{" + rest.removesuffix("]}")


def _all_rows(model: str, version: int, arrived: int, request: bytes, response: bytes) -> Iterator[Values]:
    """The rows of any exchange."""
    for row, raw in zip(_rows(request).rows, _answers(response).predictions, strict=True):
        name, _, rest = str(raw, "utf-8").removeprefix(_ANSWER).partition('",')
        yield name, model, version, arrived, arrived, str(row, "utf-8"), "{" + rest
