"""Who is champion: one row a model, changed only by compare-and-swap; and the lease to train one."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict, NotFound
from treadle.ledger.alert_rows import follow_swap
from treadle.ledger.audit import record
from treadle.ledger.records import Champion, Lease, Promotion, from_us, to_us
from treadle.ledger.tables import champions, leases, promotions, versions


def read_champion(engine: Engine, model: str) -> Champion | None:
    """The champion's row."""
    with engine.connect() as connection:
        return _champion_row(connection, model)


def _champion_row(connection: Connection, model: str) -> Champion | None:
    row = champions.c
    found = connection.execute(select(row.version, row.previous, row.fence).where(row.model == model)).first()
    return Champion(*found) if found else None


def read_promotion(engine: Engine, model: str) -> Promotion | None:
    """The swap that made the champion, `None` before the first."""
    p = promotions.c
    query = select(p.version, p.from_version, p.fence, p.verdict, p.reason, p.figures, p.at_us)
    with engine.connect() as connection:
        found = connection.execute(query.where(p.model == model).order_by(p.seq.desc()).limit(1)).first()
    if found is None:
        return None
    number, before, fence, verdict, reason, figures, at_us = found
    return Promotion(number, before, fence, verdict, reason, json.loads(figures), from_us(at_us))


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
    who: str = "flow",
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
        who: The person or key that asked for it, for the audit.

    Raises:
        NotFound: The version is not registered, or was deleted meanwhile.
        Conflict: It is champion already, or another champion, or another lease, came first; compare again.
    """
    try:
        with engine.begin() as connection:
            return swap_within(
                connection, model, version, expected, verdict=verdict, reason=reason, figures=figures, at=at,
                lease_fence=lease_fence, who=who,
            )  # fmt: skip
    except IntegrityError as error:
        raise _lost(model, expected) from error


def swap_within(
    connection: Connection,
    model: str,
    version: int,
    expected: int | None,
    *,
    verdict: str,
    reason: str,
    figures: dict[str, Any],
    at: datetime,
    lease_fence: int | None = None,
    who: str = "flow",
) -> Champion:
    """`swap_champion` as the last part of the caller's transaction: others write the audit only after its end.

    Raises:
        IntegrityError: There was to be no champion, but there is one.
    """
    if version == expected:
        raise Conflict(f"Version {version} of '{model}' is champion already.")
    _write_champion(connection, model, version, expected, lease_fence)
    _hold_version(connection, model, version)
    fence = connection.execute(select(champions.c.fence).where(champions.c.model == model)).scalar_one()
    connection.execute(
        insert(promotions).values(
            model=model, version=version, from_version=expected, fence=fence, verdict=verdict,
            reason=reason, figures=json.dumps(figures, default=str), at_us=to_us(at),
        )
    )  # fmt: skip
    follow_swap(connection, model, version, is_rollback=verdict == "rollback")
    record(connection, who, "rollback" if verdict == "rollback" else "promote", model, expected, version)
    return Champion(version, expected, fence)


def _write_champion(
    connection: Connection, model: str, version: int, expected: int | None, lease_fence: int | None
) -> None:
    now = to_us(datetime.now(UTC))
    if expected is None:
        connection.execute(
            insert(champions).values(model=model, version=version, previous=None, fence=1, updated_us=now)
        )
    else:
        row = champions.c
        swap = update(champions).where(row.model == model, row.version == expected)
        new = {"version": version, "previous": expected, "fence": row.fence + 1, "updated_us": now}
        if connection.execute(swap.values(**new)).rowcount != 1:
            raise _lost(model, expected)
    if lease_fence is not None:
        check_lease(connection, model, lease_fence)


def check_lease(connection: Connection, model: str, fence: int) -> None:
    """Refuse who was taken for dead. The row stays locked, so that nobody takes the lease over before the commit.

    Raises:
        Conflict: The lease was taken over.
    """
    held = select(leases.c.fence).where(leases.c.model == model).with_for_update()
    newest = connection.execute(held).scalar()
    if newest != fence:
        raise Conflict(
            f"The train lease of '{model}' that this promotion works under ({fence}) was taken over ({newest}); train again."
        )


def _hold_version(connection: Connection, model: str, version: int) -> None:
    """Keep a version from being deleted before the promotion commits; SQLite has one writer and needs no lock."""
    wanted = select(versions.c.version).where(versions.c.model == model, versions.c.version == version)
    if connection.execute(wanted.with_for_update()).first() is None:
        raise NotFound(f"'{model}' has no version {version} to promote. `treadle models {model}` lists its versions.")


def remove_version(engine: Engine, model: str, version: int, who: str = "flow") -> None:
    """Delete a version's record, unless it serves or would serve after a rollback.

    Raises:
        NotFound: There is none.
        Conflict: It is the champion or the one before.
    """
    row = versions.c
    with engine.begin() as connection:  # delete first, ask then: whoever promotes it waits for this row, or is seen
        if connection.execute(delete(versions).where(row.model == model, row.version == version)).rowcount != 1:
            raise NotFound(f"'{model}' has no version {version}. `treadle models {model}` lists its versions.")
        champion = _champion_row(connection, model)
        if champion is not None and version in {champion.version, champion.previous}:
            role = "the champion" if version == champion.version else "what a rollback restores"
            raise Conflict(f"Version {version} of '{model}' is {role}; promote another version before deleting it.")
        record(connection, who, "delete version", model, version, None)


def _lost(model: str, expected: int | None) -> Conflict:
    was = "had no champion" if expected is None else f"was version {expected}"
    return Conflict(
        f"The champion of '{model}' {was} when this comparison was made, but is not any more; compare again."
    )


def swap_back(engine: Engine, model: str, reason: str, at: datetime, who: str = "flow") -> Champion:
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
        engine, model, champion.previous, champion.version, verdict="rollback", reason=reason, figures={}, at=at,
        who=who,
    )  # fmt: skip


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
    """Remove the champion and its promotions: the project starts anew, and who still trains for the old one is void."""
    for table in (champions, promotions):
        connection.execute(delete(table).where(table.c.model == model))
    connection.execute(update(leases).where(leases.c.model == model).values(fence=leases.c.fence + 1, expires_us=0))
