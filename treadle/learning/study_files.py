"""What the processes of a search share on disk: the study's journal, locks, and who is still there.

Every lock here is the kernel's, so that a process that is killed holds none.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend


class Journal(JournalFileBackend):
    """Optuna's journal file, locked with `flock` and mended when a writer died in the middle of a line.

    Optuna's own locks are files that outlive their owner: measured, a kill -9 stalled the others for 30 s.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._journal = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines, or none; not fsynced, since a trial lost to a power cut is only done again."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._journal.open("rb+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = _drop_torn_line(file.fileno())
            if os.pwrite(file.fileno(), content, end) != len(content):
                os.ftruncate(file.fileno(), end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._journal))


def _drop_torn_line(file: int) -> int:
    """Cut what follows the last line end, and return the size, bytes."""
    end = size = os.fstat(file).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(file, end)
    return end


class Presence:
    """A file whose lock lives exactly as long as the process that made it: trials name it as their owner."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._path = folder / "alive" / self.name
        self._path.parent.mkdir(exist_ok=True)
        self._file = self._path.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Remove the file, as death would release it."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_present(folder: Path, name: str) -> bool:
    """Whether the process behind a presence still lives; the file of a dead one is removed."""
    path = folder / "alive" / Path(name).name
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the kernel's lock on a file for the length of a block."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
