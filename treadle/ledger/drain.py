"""Carries the journal into the ledger: one holder at a time for a folder, oldest file first, nothing twice."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from treadle.errors import Unavailable
from treadle.ledger.journal import HEADER, Values, entries, read_frames
from treadle.ledger.ledger import Ledger
from treadle.ledger.segment import clean, look, remove_spares

log = logging.getLogger("treadle.ledger")

PAUSE_S = 0.05
CARRIED = "carried"
"""The file that is touched whenever everything was carried."""
BACK_OFF_S = 1.0
ROWS_A_COMMIT = 2_000
PORTION = 1 << 20
"""Bytes that are read at once: after an outage the files are large, and memory that was needed once is not given back."""


class Drain:
    """The other end of the journals in a folder.

    A frame that was carried before is carried again after a crash; the ledger knows its ids and changes nothing.

    Args:
        folder: The journals' folder.
        open_ledger: Opens the ledger when it is needed first, and again until it can be opened.
        nice: By how much its thread steps back: callers wait for a processor, rows on their way do not.
    """

    def __init__(self, folder: Path, open_ledger: Callable[[], Ledger], nice: int = 0) -> None:
        self._folder = folder
        self._nice = nice
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None
        self._offsets: dict[Path, int] = {}
        self._lock = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own; another process that drains this folder is waited for."""
        self._thread.start()

    def stop(self) -> None:
        """Carry what is there, then end."""
        self._stop.set()
        self._thread.join(timeout=30)
        if self._lock >= 0:
            remove_spares(look(self._folder).spares, after_s=0.0)
        self.let_go()

    def _run(self) -> None:
        if self._nice:
            os.nice(self._nice)  # of this thread alone: Linux has a nice value for each
        pause = PAUSE_S
        while not self._stop.wait(pause):
            pause = PAUSE_S if self._carried() else BACK_OFF_S
        self._carried()

    def _carried(self) -> bool:
        """Carry all that is there; False when the ledger does not take it now."""
        try:
            if self.hold():
                self.once()
                (self._folder / CARRIED).touch()
        except (Unavailable, SQLAlchemyError, OSError) as error:
            log.warning("the journal waits for the ledger: %s", type(error).__name__)  # its text may hold a row
            return False
        return True

    def let_go(self) -> None:
        """Leave the folder to others."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def hold(self) -> bool:
        """Whether this process holds the folder, or does so from now on."""
        if self._lock >= 0:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def once(self) -> int:
        """Carry what is in the folder now, and remove the spares that nobody took.

        Returns:
            The number of rows.

        Raises:
            Unavailable: The ledger does not take them; they stay where they are.
        """
        files = look(self._folder)
        rows = sum(self._carry(path) for path in files.journals)
        remove_spares(files.spares)
        return rows

    def _carry(self, path: Path) -> int:
        """Carry the new frames of a file; clean it once its writer has left it and all of it was carried."""
        rows, size = 0, PORTION
        with path.open("r+b", buffering=0) as file:
            left = _locked(file.fileno())  # and held until the file is clean: no writer can come to it
            begin, rest = self._offsets.get(path, 0), b""
            while os.pread(file.fileno(), HEADER.size, begin).strip(b"\0"):
                content = os.pread(file.fileno(), size, begin)
                count, end = self._commit(content)
                rows += count
                self._offsets[path] = begin = begin + end
                if len(content) < size:
                    rest = content[end:]
                    break
                size = PORTION if end else 2 * size  # a frame may be longer than a portion
            if left:
                if rest.strip(b"\0"):
                    log.warning("%s ends in a frame that was never acknowledged", path.name)
                clean(file.fileno(), path)
                self._offsets.pop(path, None)
        return rows

    def _commit(self, content: bytes) -> tuple[int, int]:
        """Commit whole frames; the number of rows, and how far they reach."""
        waiting: list[Values] = []
        rows = reached = 0
        for end, records in read_frames(content):
            waiting.extend(entries(records))
            if len(waiting) >= ROWS_A_COMMIT:
                rows += self._absorb(waiting)
                waiting = []
            reached = end
        return rows + self._absorb(waiting), reached

    def _absorb(self, rows: Sequence[Values]) -> int:
        """Commit rows together; if the database refuses one for what it is, each alone, so that one holds up no other."""
        if not rows:
            return 0
        try:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            self._ledger.absorb(rows)
        except (DataError, IntegrityError) as error:
            if len(rows) > 1:
                return sum(self._absorb([row]) for row in rows)
            log.error("the ledger refuses a prediction, kept in refused.jsonl: %s", type(error).__name__)  # noqa: TRY400 - its trace would hold the row
            with (self._folder / "refused.jsonl").open("ab") as file:
                file.write(msgspec.json.encode(rows[0]) + b"\n")
            return 0
        return len(rows)


def carried_before(folder: Path) -> float | None:
    """Seconds since the journals in a folder were last carried whole; `None` if they never were."""
    try:
        return max(0.0, time.time() - (folder / CARRIED).stat().st_mtime)
    except OSError:
        return None


def _locked(file: int) -> bool:
    """Lock a journal, which succeeds once its writer is gone: closed it, or died."""
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
