"""Rows as the service hands them to the ledger once they were answered."""

from datetime import UTC, datetime

from treadle.ledger import Entry
from treadle.ledger.records import to_us


def answered(name: str, model: str, version: int, at: datetime, features: str, answer: str) -> Entry:
    """One row of an event time, answered now; `features` and `answer` are JSON."""
    return Entry(name, model, version, to_us(at), to_us(datetime.now(UTC)), features, answer)
