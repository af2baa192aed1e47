"""The first minutes of a champion: the one before it stays in memory, answers where it fails, and comes back if it fails often.

Each worker judges by what it saw itself; whoever comes first swaps the champion back by compare-and-swap.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.models.champions import Champions
from serving.models.model import ServedModel
from treadle.errors import Conflict, NotFound
from treadle.ledger import Ledger, Releases

log = logging.getLogger("treadle.serving")

FEWEST_FAILURES = 5
MOST_FAILED = 0.05
"""A champion that fails more of its requests than this share is rolled back."""


@dataclass
class Count:
    """What was seen of a champion in its first minutes."""

    answers: int = 0
    failures: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether it is rolled back."""
        share = self.failures / max(1, self.failures + self.answers)
        return self.failures >= FEWEST_FAILURES and share > MOST_FAILED


class Bake:
    """The champions of this worker that are new."""

    def __init__(self, champions: Champions, book: Releases, ledger: Ledger) -> None:
        self._champions = champions
        self._book = book
        self._ledger = ledger
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], Count] = {}

    def answered(self, model: ServedModel, requests: int = 1) -> None:
        """Count requests that were answered."""
        if self._champions.spare(model) is not None:
            self._count(model).answers += requests

    def failed(self, model: ServedModel) -> None:
        """Count a request to which a champion had no answer and the one before it had one."""
        self._count(model).failures += 1

    def _count(self, model: ServedModel) -> Count:
        with self._lock:
            return self._counts.setdefault((model.name, model.version), Count())

    def look(self) -> None:
        """Put the champion before back where the new one fails; forget those that have stood their time."""
        for (name, version), count in list(self._counts.items()):
            served = self._champions.models.get(name)
            spare = self._champions.spare(served) if served is not None and served.version == version else None
            if spare is None:
                with self._lock:
                    del self._counts[name, version]
            elif count.is_bad:
                self._revert(name, version, spare.version, count)

    def _revert(self, name: str, bad: int, to: int, count: Count) -> None:
        reason = (
            f"Version {bad} had no answer to {count.failures} of {count.failures + count.answers} requests in its first "
            f"minutes, to which version {to} had one."
        )
        figures = {"answers": count.answers, "failures": count.failures, "version": bad}
        try:
            self._book.revert(name, bad, to, reason, figures, "serving")
        except (Conflict, NotFound) as error:
            log.info("%s: no rollback: %s", name, error)
            return
        log.warning("%s: rolled back: %s", name, reason)
        self._ledger.record_decision(name, "rolled-back", reason, figures, datetime.now(UTC))
