"""Who is champion: one row a model, changed only by compare-and-swap; and the lease to train one."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict, NotFound
from treadle.ledger.records import Champion, Lease, to_us
from treadle.ledger.tables import champions, leases, promotions


def read_champion(engine: Engine, model: str) -> Champion | None:
    """The champion's row."""
    row = champions.c
    with engine.connect() as connection:
        found = connection.execute(select(row.version, row.previous, row.fence).where(row.model == model)).first()
    return Champion(*found) if found else None


def swap_champion(
    engine: Engine,
    model: str,
    version: int,
    expected: int | None,
    *,
    verdict: str,
    reason: str,
    figures: dict[str, Any],
    at: datetime,
    lease_fence: int | None = None,
) -> Champion:
    """Make `version` champion if `expected` still is, and write down why, in one transaction.

    Args:
        engine: The ledger's database.
        model: The model.
        version: The new champion.
        expected: The champion that it was compared with; `None` if there was none.
        verdict: One word for the promotion's record.
        reason: Plain words.
        figures: What the gate measured.
        at: Event time.
        lease_fence: The lease under which the caller works; a newer lease makes it void.

    Raises:
        Conflict: Another champion, or another lease, came first; compare again.
    """
    try:
        with engine.begin() as connection:
            _write_champion(connection, model, version, expected, lease_fence)
            fence = connection.execute(select(champions.c.fence).where(champions.c.model == model)).scalar_one()
            connection.execute(
                insert(promotions).values(
                    model=model, version=version, from_version=expected, fence=fence, verdict=verdict,
                    reason=reason, figures=json.dumps(figures, default=str), at_us=to_us(at),
                )
            )  # fmt: skip
    except IntegrityError as error:
        raise _lost(model, expected) from error
    return Champion(version, expected, fence)


def _write_champion(
    connection: Connection, model: str, version: int, expected: int | None, lease_fence: int | None
) -> None:
    now = to_us(datetime.now(UTC))
    if expected is None:
        connection.execute(
            insert(champions).values(model=model, version=version, previous=None, fence=1, updated_us=now)
        )
    row = champions.c
    held = select(leases.c.model).where(leases.c.model == model, leases.c.fence == lease_fence).exists()
    conditions = [row.model == model, row.version == (version if expected is None else expected)]
    if lease_fence is not None:
        conditions.append(held)
    new = {"version": version, "previous": expected, "updated_us": now}
    if expected is not None:
        new["fence"] = row.fence + 1
    if connection.execute(update(champions).where(*conditions).values(**new)).rowcount != 1:
        raise _lost(model, expected)


def _lost(model: str, expected: int | None) -> Conflict:
    was = "had no champion" if expected is None else f"was version {expected}"
    return Conflict(
        f"The champion of '{model}' {was} when this comparison was made, but is not any more; compare again."
    )


def swap_back(engine: Engine, model: str, reason: str, at: datetime) -> Champion:
    """Restore the champion before this one.

    Raises:
        NotFound: There is none.
        Conflict: The champion changed meanwhile.
    """
    champion = read_champion(engine, model)
    if champion is None or champion.previous is None:
        raise NotFound(
            f"'{model}' has no previous champion to go back to. `treadle models {model}` lists its versions."
        )
    return swap_champion(
        engine, model, champion.previous, champion.version, verdict="rollback", reason=reason, figures={}, at=at
    )


def acquire(engine: Engine, model: str, holder: str, at: datetime, lease_s: float) -> Lease | None:
    """Take the lease if nobody holds it, or if its holder has not beaten its heart in time.

    Returns:
        The lease, with a fence higher than any before it; `None` while another holds it.
    """
    now = int(time.time() * 1e6)
    values = {"holder": holder, "acquired_at_us": to_us(at), "expires_us": now + int(lease_s * 1e6)}
    try:
        with engine.begin() as connection:
            stale = update(leases).where(leases.c.model == model, leases.c.expires_us < now)
            taken = connection.execute(stale.values(fence=leases.c.fence + 1, **values)).rowcount
            if not taken:
                connection.execute(insert(leases).values(model=model, fence=1, **values))
            fence = connection.execute(select(leases.c.fence).where(leases.c.model == model)).scalar_one()
    except IntegrityError:
        return None
    return Lease(model, holder, fence, lease_s)


def beat(engine: Engine, lease: Lease) -> bool:
    """Prolong a lease; False if another has taken it."""
    mine = update(leases).where(leases.c.model == lease.model, leases.c.fence == lease.fence)
    with engine.begin() as connection:
        return connection.execute(mine.values(expires_us=int((time.time() + lease.lease_s) * 1e6))).rowcount == 1


def release(engine: Engine, lease: Lease) -> None:
    """Give a lease back; the row stays, so that the next fence is higher."""
    mine = update(leases).where(leases.c.model == lease.model, leases.c.fence == lease.fence)
    with engine.begin() as connection:
        connection.execute(mine.values(expires_us=0))


def in_flight(engine: Engine, model: str) -> bool:
    """Whether somebody holds the model's lease now."""
    alive = select(leases.c.model).where(leases.c.model == model, leases.c.expires_us >= int(time.time() * 1e6))
    with engine.connect() as connection:
        return connection.execute(alive).first() is not None


def forget_champion(connection: Connection, model: str) -> None:
    """Remove the champion and its promotions: the project starts anew."""
    for table in (champions, promotions):
        connection.execute(delete(table).where(table.c.model == model))
