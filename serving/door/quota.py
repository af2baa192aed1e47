"""Rate limits by key, counted in rows, one count for all workers of a machine: a token bucket a key in a shared file.

Only keys with a limit come here. Nothing that a caller sends names the bucket but the key itself.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import threading
import time
from pathlib import Path

from serving.door.access import Principal
from serving.problem_details import BadRequest
from treadle.errors import TreadleError

SLOTS = 4096
MINUTE_S = 60.0
_SLOT = struct.Struct("=12s4xdd")
"""A key's id, the rows that it may send now, and when that was so, seconds of the machine's monotonic clock."""


class TooMany(TreadleError):
    """More rows than a key may send.

    Attributes:
        headers: When to try again.
    """

    status = 429
    title = "Too many rows"

    def __init__(self, limit: int, retry_after_s: float) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        super().__init__(f"This key may send {limit:,} rows a minute; try again in {seconds} s.")
        self.headers = {"Retry-After": str(seconds)}


class Quota:
    """The buckets. Each holds the rows of one minute, and fills evenly.

    Args:
        path: The file, shared by all processes that serve; it may be lost, which fills every bucket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._slots: mmap.mmap | None = None
        self._threads = threading.Lock()  # flock tells processes apart, not threads

    def take(self, principal: Principal | None, rows: int, each: int = 1) -> None:
        """Count rows against a key's limit, all or none.

        Args:
            principal: Whose key it is.
            rows: How many.
            each: As how many rows each counts, where it costs more than to be answered; one alone never as more than the limit.

        Raises:
            TooMany: They are not there at the moment.
            BadRequest: They will never be.
        """
        if principal is None or principal.rows_per_minute is None or principal.key_id is None:
            return
        limit = principal.rows_per_minute
        rows *= min(each, limit)
        if rows > limit:
            said = f", and each of these counts as {each}" if each > 1 else ""
            raise BadRequest(f"This key may send {limit:,} rows a minute{said}; send fewer rows at once.", 413)
        with self._threads:
            slots = self._slots or self._open()
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                missing = _spend(slots, principal.key_id.encode(), limit, rows)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        if missing > 0:
            raise TooMany(limit, missing * MINUTE_S / limit)

    def _open(self) -> mmap.mmap:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, SLOTS * _SLOT.size)  # of this very size already, if another process was first
        self._slots = mmap.mmap(self._file, SLOTS * _SLOT.size)
        return self._slots


def _spend(slots: mmap.mmap, key_id: bytes, limit: int, rows: int) -> float:
    """Take rows out of a key's bucket; or take none, and say how many are missing."""
    now = time.monotonic()
    place = _find(slots, key_id)
    if place is None:
        place, tokens = _free(slots, now), float(limit)
    else:
        _, tokens, since = _SLOT.unpack_from(slots, place)
        tokens = limit if since > now else min(limit, tokens + (now - since) * limit / MINUTE_S)
    if place is None or rows > tokens:
        return max(1.0, rows - tokens)
    _SLOT.pack_into(slots, place, key_id, tokens - rows, now)
    return 0.0


def _find(slots: mmap.mmap, key_id: bytes) -> int | None:
    """Where a key's bucket is."""
    place = slots.find(key_id)
    while place >= 0 and place % _SLOT.size:  # the same bytes in somebody's numbers
        place = slots.find(key_id, place + 1)
    return place if place >= 0 else None


def _free(slots: mmap.mmap, now: float) -> int | None:
    """A place that was never used, or not for a minute: such a bucket is full, so nothing is forgotten with it.

    Times that are still to come are from before the machine's last start.
    """
    for place in range(0, SLOTS * _SLOT.size, _SLOT.size):
        key_id, _, since = _SLOT.unpack_from(slots, place)
        if not key_id[0] or now - since > MINUTE_S or since > now:
            return place
    return None
