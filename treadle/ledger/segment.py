"""A segment of the journal: a file of one size, full of zeros, mapped into its writer's memory and used again when it was carried.

Copying into memory that is there already costs a tenth of writing to a file, and what was copied is as safe: the kernel
keeps the pages, whatever becomes of the process. Logs of databases use their files again for the same reason.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".journal"
SPARE = ".spare"
"""What holds nothing: a segment that was carried and cleaned, or a file that is not whole yet."""
SEGMENT_BYTES = 1 << 19
SPARE_S = 10.0
"""A spare that nobody took for so long is removed; a busy writer takes one several times a second."""


class Segment:
    """A segment, seen by its writer. The lock on it says that it is being written.

    Args:
        folder: Where it is made.

    Raises:
        OSError: The disk does not have the room.
    """

    def __init__(self, folder: Path) -> None:
        spare = new_path(folder, SPARE)
        self._file = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # all of its blocks, so that a full disk is met here and never by a copy
            write_all(self._file, bytes(SEGMENT_BYTES), at=0)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._map = _mapped(self._file)
            self._begin(spare)
        except OSError:
            os.close(self._file)
            spare.unlink(missing_ok=True)
            raise

    def _begin(self, spare: Path) -> None:
        path = new_path(spare.parent, SUFFIX)
        spare.rename(path)
        self._path = path
        self.used = 0
        self.begun = time.monotonic()

    @property
    def is_gone(self) -> bool:
        """Whether its file was removed."""
        return os.fstat(self._file).st_nlink == 0

    def has_room(self, size: int) -> bool:
        """Whether so many bytes go in."""
        return self.used + size <= SEGMENT_BYTES

    def append(self, header: bytes, content: bytes) -> None:
        """Copy a frame in: its header last, so that who reads meanwhile sees none, or all of it."""
        begin = self.used + len(header)
        end = begin + len(content)
        if self._map is None:
            write_all(self._file, header + content, at=self.used)
        else:
            self._map[begin:end] = content
            self._map[self.used : begin] = header
        self.used = end

    def sync(self, size: int) -> None:
        """Wait until the disk has the last `size` bytes."""
        if self._map is None:
            os.fdatasync(self._file)
        else:
            begin = (self.used - size) // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.flush(begin, self.used - begin)

    def leave(self) -> None:
        """Say that nothing more is written: whoever carries the journal cleans it then."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def take_again(self) -> bool:
        """Begin it anew, if it was carried and cleaned since it was left."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            self._begin(self._path.with_suffix(SPARE))
        except FileNotFoundError:
            self.leave()
            return False
        return True

    def close(self) -> None:
        """Let go of it; what it holds is carried."""
        if self._map is not None:
            self._map.close()
        os.close(self._file)


def _mapped(file: int) -> mmap.mmap | None:
    """A segment's memory; `None` on a file system that maps none, as some that virtual machines share: it is written to then."""
    with suppress(OSError):
        return mmap.mmap(file, SEGMENT_BYTES)
    return None


def write_alone(folder: Path, content: bytes, *, durable: bool) -> None:
    """Write a journal that nobody will add to.

    Raises:
        OSError: The disk does not take it; nothing is left of it.
    """
    spare = new_path(folder, SPARE)
    file = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(file, content, at=0)
        if durable:
            os.fdatasync(file)
        spare.rename(new_path(folder, SUFFIX))
    except OSError:
        spare.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def clean(file: int, path: Path) -> None:
    """Overwrite a journal that was carried, and give it back to its writer; remove it, if it is no segment.

    Args:
        file: It, open for writing and locked.
        path: Where it is.
    """
    if os.fstat(file).st_size == SEGMENT_BYTES:
        os.pwrite(file, bytes(SEGMENT_BYTES), 0)
        path.rename(path.with_suffix(SPARE))
    else:
        path.unlink()


class Files(NamedTuple):
    """What a folder has at one look: journals, the oldest first, and spares."""

    journals: list[Path]
    spares: list[Path]


def look(folder: Path) -> Files:
    """The files of a folder; none, if there is no folder."""
    paths = sorted(folder.glob("*"))
    return Files([path for path in paths if path.suffix == SUFFIX], [path for path in paths if path.suffix == SPARE])


def remove_spares(spares: Iterable[Path], after_s: float = SPARE_S) -> None:
    """Remove those that nobody took for so many seconds; one that was taken since the look has another name."""
    for path in spares:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > after_s:
                path.unlink()


def new_path(folder: Path, suffix: str) -> Path:
    """A name that sorts by the time at which it was given."""
    return folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{suffix}"


def write_all(file: int, content: bytes, at: int) -> None:
    """Write all of it, from offset `at` on.

    Raises:
        OSError: The disk does not take it.
    """
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:] if written else content, at + written)
