"""Refused attempts on their way into the audit.

They are counted in memory and written by a thread, so that a flood of wrong keys neither fills the disk nor delays
anybody.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from treadle.errors import Unavailable
from treadle.ledger import Ledger
from treadle.ledger.audit import record

log = logging.getLogger("treadle.serving")

MINUTE_S = 60.0
MOST = 500
"""Kinds of refusal that are told apart in one minute; what is beyond them is counted together."""


@dataclass(slots=True)
class _Count:
    since: float
    waiting: int = 0
    told: bool = False


class Refusals:
    """Counts by key, route and reason. The first of a minute is written at once, the rest of the minute as one row."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counts: dict[tuple[str | None, str, str], _Count] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str | None, route: str, reason: str) -> None:
        """Count one refusal; a few microseconds, nothing is written here.

        Args:
            key_id: A key that exists; `None` for none and for invented ones.
            route: The method and the pattern of the route, never the path that was asked for.
            reason: A word or two of ours.
        """
        kind = (key_id, route, reason)
        with self._lock:
            count = self._counts.get(kind)
            if count is None:
                if len(self._counts) >= MOST:
                    kind = (None, "any", "refused")
                count = self._counts.setdefault(kind, _Count(time.monotonic()))
            count.waiting += 1

    def write(self, *, everything: bool = False) -> None:
        """Write what is due; what the ledger does not take now is kept for the next time."""
        due = self._due(everything)
        if not due:
            return
        try:
            with self._ledger.change() as connection:
                for (key_id, route, reason), times in due:
                    who = key_id or "unknown"
                    record(connection, who, reason, route, outcome="denied", key_id=key_id, times=times)
        except (SQLAlchemyError, OSError, Unavailable) as error:
            log.warning("refusals wait for the ledger: %s", type(error).__name__)
            with self._lock:
                for kind, times in due:
                    self._counts.setdefault(kind, _Count(time.monotonic())).waiting += times

    def _due(self, everything: bool) -> list[tuple[tuple[str | None, str, str], int]]:
        """Take what must be written now: firsts, and what a minute that has passed has gathered."""
        now = time.monotonic()
        due = []
        with self._lock:
            for kind, count in list(self._counts.items()):
                over = everything or now - count.since >= MINUTE_S
                if count.waiting and (over or not count.told):
                    due.append((kind, count.waiting))
                    count.waiting, count.told = 0, True
                if over:
                    del self._counts[kind]
        return due
