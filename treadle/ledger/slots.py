"""Slots: the scheduled moments of a flow. However many runs come for one, or late for many, one of them is enough.

A run claims the moment for which it was scheduled, and with it every moment up to its own begin: a run that comes for one
of those, from a second scheduler or after an outage of ten, finds it claimed. Nothing needs to know the schedule.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from treadle.ledger.ledger import Ledger
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import slots
from treadle.ledger.triggers import hold, now_us

AHEAD = timedelta(days=1)
"""A claim that lies farther ahead was made by a wrong clock, and must not silence a flow until that date has come."""


def claim(ledger: Ledger, flow: str, model: str, slot: datetime, run_id: str) -> str | None:
    """Claim a slot for a run; the check and the claim are one transaction.

    Args:
        ledger: Where the claim is kept; several schedulers share it.
        flow: The flow's name.
        model: The project's name.
        slot: The moment for which the run was scheduled.
        run_id: The run; one that claimed the slot before may go on, after an outage.

    Returns:
        Why the run is not needed, in plain words; `None` if the slot is its own now.
    """
    at, now = to_us(slot), now_us()
    with ledger.engine.begin() as connection:
        hold(connection, model)
        found = _covering(connection, flow, model, at, max(at, now))
        if found is None:
            row = {"flow": flow, "model": model, "slot_us": at, "run_id": run_id}
            connection.execute(insert(slots).values(**row, claimed_us=max(at, now), spared=0))
            return None
        if found.run_id == run_id:
            return None
        mine = update(slots).where(slots.c.flow == flow, slots.c.model == model, slots.c.slot_us == found.slot_us)
        connection.execute(mine.values(spared=slots.c.spared + 1))
    begun, own = from_us(found.claimed_us), f"{slot:%Y-%m-%d %H:%M:%S}"
    return (
        f"The {flow} of '{model}' that was due at {own} UTC is not needed: run {found.run_id} began at "
        f"{begun:%Y-%m-%d %H:%M:%S} UTC, at or after that moment."
    )


def _covering(connection: Connection, flow: str, model: str, at: int, latest: int) -> Any:
    """The claim that covers a moment; this very slot's, whatever a clock said, first."""
    s = slots.c
    mine = select(slots).where(s.flow == flow, s.model == model)
    same = connection.execute(mine.where(s.slot_us == at)).first()
    if same is not None:
        return same
    ahead = latest + AHEAD // timedelta(microseconds=1)
    return connection.execute(mine.where(s.claimed_us.between(at, ahead)).order_by(s.slot_us).limit(1)).first()


def last_slots(ledger: Ledger, flow: str, model: str, most: int = 10) -> list[tuple[datetime, str, int]]:
    """The newest claims, newest first: the moment, the run, and how many other runs were spared for it."""
    query = select(slots).where(slots.c.flow == flow, slots.c.model == model).order_by(slots.c.slot_us.desc())
    with ledger.engine.connect() as connection:
        return [(from_us(row.slot_us), row.run_id, row.spared) for row in connection.execute(query.limit(most))]
