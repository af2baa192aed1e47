"""Treadle as it is, but for a journal that forgets at once: only to measure what the ledger costs."""

import sys
from collections.abc import Sequence

import serving.parts
from serving.parent import Parent
from serving.worker import main
from treadle.ledger import Entry, Exchange, Journal
from treadle.settings import Settings


class Forgetting(Journal):
    """Says that it has the records, and drops them."""

    def append(self, records: Sequence[Entry | Exchange]) -> None:
        """Return at once."""


class ForgetfulParent(Parent):
    """The service's parent process, whose workers are this module."""

    worker = "benchmarks.servers.treadle_without_ledger"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serving.parts.Journal = Forgetting  # type: ignore[misc]
        main(int(sys.argv[1]), int(sys.argv[2]))
    else:
        sys.exit(ForgetfulParent(Settings()).run())
