"""Calls of ready models in the ledger: what was asked by whom, which model answered, what it cost, how sure it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from treadle.ledger.ledger import Ledger
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import ready_calls, ready_looks

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


@dataclass(frozen=True, slots=True)
class ReadyVersion:
    """One version of a ready model that has answered.

    Attributes:
        calls: How many calls it has answered.
    """

    capability: str
    model: str
    model_version: str
    calls: int


@dataclass(frozen=True, slots=True)
class ReadyLook:
    """One look at the calls of a ready model.

    Attributes:
        rows: Calls that it covered, the newest.
        calls: Calls that there were by then.
        figures: The judgement's.
    """

    capability: str
    model: str
    model_version: str
    verdict: str
    reason: str
    rows: int
    calls: int
    figures: dict[str, Any]
    at: datetime


class ReadyCalls:
    """The calls of one ledger, and the looks at them."""

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

    def asked(self, capability: str | None = None, until: datetime | None = None) -> list[ReadyVersion]:
        """The models that have answered, of one capability or of all."""
        c = ready_calls.c
        query = select(c.capability, c.model, c.model_version, func.count()).where(c.outcome == ANSWERED)
        if capability is not None:
            query = query.where(c.capability == capability)
        if until is not None:
            query = query.where(c.at_us <= to_us(until))
        query = query.group_by(c.capability, c.model, c.model_version).order_by(c.capability, c.model, c.model_version)
        with self._ledger.engine.connect() as connection:
            return [ReadyVersion(*row) for row in connection.execute(query)]

    def answered(
        self, model: ReadyVersion, n: int, *, newest: bool = False, until: datetime | None = None
    ) -> list[ReadyCall]:
        """The first or the newest answered calls of a model, in the order of time."""
        c = ready_calls.c
        query = select(ready_calls).where(
            c.capability == model.capability, c.model == model.model, c.model_version == model.model_version,
            c.outcome == ANSWERED,
        )  # fmt: skip
        if until is not None:
            query = query.where(c.at_us <= to_us(until))
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(query.order_by(c.seq.desc() if newest else c.seq).limit(n)).all()
        return [_call(row) for row in (reversed(rows) if newest else rows)]

    def add_look(self, look: ReadyLook) -> None:
        """Write a look down.

        Raises:
            Unavailable: The database is locked or full.
        """
        with self._ledger.engine.begin() as connection:
            connection.execute(
                insert(ready_looks).values(
                    capability=look.capability, model=look.model, model_version=look.model_version, verdict=look.verdict,
                    reason=look.reason, rows=look.rows, calls=look.calls, figures=json.dumps(look.figures),
                    at_us=to_us(look.at),
                )
            )  # fmt: skip

    def looks(self, model: ReadyVersion, n: int) -> list[ReadyLook]:
        """The newest looks at a model of that version, newest first."""
        c = ready_looks.c
        mine = (c.capability == model.capability, c.model == model.model, c.model_version == model.model_version)
        query = select(ready_looks).where(*mine).order_by(c.seq.desc()).limit(n)
        with self._ledger.engine.connect() as connection:
            return [_look(row) for row in connection.execute(query)]

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


def _look(row: Any) -> ReadyLook:
    values = row._asdict()
    del values["seq"]
    at = from_us(values.pop("at_us"))
    return ReadyLook(**values | {"figures": json.loads(values["figures"]), "at": at})
