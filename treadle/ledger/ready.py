"""Calls of ready models in the ledger: what was asked by whom, which model answered, what it cost, how sure it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from treadle.ledger.ledger import Ledger
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import ready_calls

ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class ReadyCall:
    """One request to a ready model.

    Attributes:
        id: Of the request or the job.
        model: The model; empty when none was reached.
        key_id: The caller's key, if there was one.
        who: What people call the caller.
        client: The protocol: `own`, `hub`, `openai`, `job` or `cli`.
        outcome: `answered`, or the title of the error.
        inputs: How many there were.
        confidence: Mean over the answers that have one, 0 to 1.
        facts: Of the inputs: the mean of each.
    """

    id: str
    capability: str
    model: str
    model_version: str
    key_id: str | None
    who: str
    client: str
    outcome: str
    inputs: int
    cpu_seconds: float
    seconds: float
    confidence: float | None = None
    facts: dict[str, float] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class ReadyCalls:
    """The calls of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, call: ReadyCall) -> None:
        """Write a call down.

        Raises:
            Unavailable: The database is locked or full.
        """
        with self._ledger.engine.begin() as connection:
            connection.execute(
                insert(ready_calls).values(
                    id=call.id, capability=call.capability, model=call.model, model_version=call.model_version,
                    key_id=call.key_id, who=call.who[:128], client=call.client, outcome=call.outcome[:32],
                    inputs=call.inputs, cpu_seconds=call.cpu_seconds, seconds=call.seconds,
                    confidence=call.confidence, facts=json.dumps(call.facts), at_us=to_us(call.at),
                )
            )  # fmt: skip

    def newest(self, capability: str | None = None, n: int = 100) -> list[ReadyCall]:
        """The newest calls, newest first."""
        query = select(ready_calls).order_by(ready_calls.c.seq.desc()).limit(n)
        if capability is not None:
            query = query.where(ready_calls.c.capability == capability)
        with self._ledger.engine.connect() as connection:
            return [_call(row) for row in connection.execute(query)]

    def spent(self, since: datetime | None = None) -> list[dict[str, Any]]:
        """CPU seconds, wall seconds, calls and inputs by capability, model and caller."""
        c = ready_calls.c
        sums = (func.sum(c.cpu_seconds), func.sum(c.seconds), func.count(), func.sum(c.inputs))
        query = select(c.capability, c.model, c.who, *sums).group_by(c.capability, c.model, c.who)
        if since is not None:
            query = query.where(c.at_us > to_us(since))
        names = ("capability", "model", "who", "cpu_seconds", "seconds", "calls", "inputs")
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(query.order_by(c.capability, c.model, c.who))
            return [dict(zip(names, row, strict=True)) for row in rows]


def _call(row: Any) -> ReadyCall:
    values = row._asdict()
    del values["seq"]
    at = from_us(values.pop("at_us"))
    return ReadyCall(**values | {"facts": json.loads(values["facts"]), "at": at})
