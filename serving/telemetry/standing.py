"""Is it right: what the last look at each model found, read from the ledger now and then, never by a request."""

from __future__ import annotations

from dataclasses import dataclass

from treadle.errors import TreadleError
from treadle.ledger import Ledger


@dataclass(frozen=True)
class Standing:
    """The last verdict of a model, in numbers.

    Attributes:
        at: Event time of the look, seconds since 1970.
        coverage: Share of its rows that had a label, 0 to 1.
        drifted: Columns that moved.
        quality: Loss of the window as a share of the normal loss; `None` without enough labels.
    """

    model: str
    version: int
    verdict: str
    at: float
    coverage: float
    drifted: int
    quality: float | None


def standings(ledger: Ledger) -> list[Standing]:
    """How every model with a champion stands; those that nobody has looked at yet are left out, all without the ledger."""
    try:
        return [found for name in ledger.champions() if (found := _standing(ledger, name)) is not None]
    except TreadleError:
        return []


def _standing(ledger: Ledger, name: str) -> Standing | None:
    for row in ledger.last_verdicts(name, 1):
        quality = row.figures.get("quality")
        return Standing(
            name,
            row.version or 0,
            row.verdict,
            row.at.timestamp(),
            row.labelled / row.rows if row.rows else 0.0,
            sum(column["drifted"] for column in row.figures.get("columns", ())),
            quality["ratio"] if quality else None,
        )
    return None
