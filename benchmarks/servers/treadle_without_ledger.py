"""Treadle as it is, but for a ledger's writer that drops everything: only to measure what the ledger costs."""

from collections.abc import Sequence

import serving.app
from serving.__main__ import main
from serving.writer import LedgerWriter
from treadle.ledger import Prediction


class Dropping(LedgerWriter):
    """Says that rows are committed, and forgets them."""

    async def write(self, rows: Sequence[Prediction]) -> None:
        """Return at once."""


if __name__ == "__main__":
    serving.app.LedgerWriter = Dropping  # type: ignore[misc]
    main()
