"""What is degraded while the service answers: champions that are not served, and a ledger that cannot be read or does not take answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from serving.door.access import Principal
from serving.models.champions import Champions
from treadle.ledger import carried_before

WAITS_S = 15.0
"""Answers that wait so long for the ledger are told of: a lock that ends by itself is over sooner, and a moment after a start
what the last service left is carried."""


class Troubles:
    """The troubles of one worker, as `readyz` and the console tell them.

    Args:
        champions: Knows which of them are not served, and whether the ledger can be read.
        journal_dir: The answers on their way into the ledger.
    """

    def __init__(self, champions: Champions, journal_dir: Path) -> None:
        self._champions = champions
        self._journal_dir = journal_dir
        self._begun = time.monotonic()

    def all(self) -> Mapping[str, str]:
        """What is wrong, by model; `ledger` is the ledger itself."""
        return self._waiting() | dict(self._champions.troubles)

    def seen_by(self, who: Principal) -> dict[str, str]:
        """What is wrong with what one may know of; the ledger's own troubles are everybody's."""
        return {name: why for name, why in self.all().items() if name == "ledger" or who.sees(name)}

    def _waiting(self) -> dict[str, str]:
        carried_s, here_s = carried_before(self._journal_dir), time.monotonic() - self._begun
        if min(here_s if carried_s is None else carried_s, here_s) < WAITS_S:
            return {}
        last = "has taken none of them yet" if carried_s is None else f"last took all of them {carried_s:.0f} s ago"
        return {
            "ledger": f"Answers wait in the journal: the ledger {last}. Its disk is full, it is locked or away, or it is "
            "slower than they come; the log says which."
        }
