"""Labels by who gave them, and those that are set aside: nothing learns from them and they count for nothing.

A label that is set aside leaves the table of feedback, so whatever reads labels does not see it; a person releases it or
drops it. Knows nothing of why.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, false, func, insert, literal, or_, select, true, update

from treadle.errors import NotFound
from treadle.ledger.audit import record
from treadle.ledger.ledger import Ledger
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import feedback, governors, predictions, set_aside
from treadle.ledger.triggers import hold, now_us

MOST = 50_000
"""Labels that are read at once, the newest."""
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Given:
    """One label and the answer that it judges.

    Attributes:
        key_id: The key that gave it.
        recent: Whether it became known within the window, or before it.
        vouched: Whether a person has said that it is right.
    """

    key_id: str | None
    label: Any
    answer: dict[str, Any]
    recent: bool
    vouched: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Labels that were set aside together.

    Attributes:
        since: Event time at which the first of them became known.
        until: That of the last.
        when: Wall-clock time at which they were set aside.
    """

    batch: int
    key_id: str | None
    labels: int
    reason: str
    since: datetime
    until: datetime
    when: datetime


def givers(connection: Connection, model: str, since: datetime, until: datetime) -> dict[str | None, int]:
    """How many labels each key gave that became known after `since` and by `until`."""
    f = feedback.c
    query = select(f.key_id, func.count().label("labels")).where(
        f.model == model, f.at_us > to_us(since), f.at_us <= to_us(until)
    )
    return {row.key_id: row.labels for row in connection.execute(query.group_by(f.key_id))}


def given(connection: Connection, model: str, since: datetime, begin: datetime, until: datetime) -> list[Given]:
    """The newest labels that became known after `since` and by `until`, newest first; `begin` begins the window."""
    f, p = feedback.c, predictions.c
    query = (
        select(f.key_id, f.label, p.answer, (f.at_us > to_us(begin)).label("recent"), f.vouched)
        .select_from(feedback.join(predictions, f.id == p.id))
        .where(f.model == model, f.at_us > to_us(since), f.at_us <= to_us(until))
        .order_by(f.at_us.desc(), f.id.desc())
        .limit(MOST)
    )
    return [
        Given(r.key_id, json.loads(r.label), json.loads(r.answer), bool(r.recent), bool(r.vouched))
        for r in connection.execute(query)
    ]


def given_by(
    connection: Connection, model: str, keys: Collection[str | None], since: datetime, until: datetime
) -> dict[str, datetime]:
    """Which labels of some keys became known after `since` and by `until`, and when the rows were asked for; none that was vouched for."""
    f, p = feedback.c, predictions.c
    query = select(f.id, p.at_us).select_from(feedback.join(predictions, f.id == p.id)).where(
        f.model == model, f.at_us > to_us(since), f.at_us <= to_us(until), f.vouched != true(),
        or_(false(), *(f.key_id == key for key in keys)),
    )  # fmt: skip
    return {row.id: from_us(row.at_us) for row in connection.execute(query)}


def examined_until(connection: Connection, model: str) -> datetime | None:
    """Up to when labels were examined; `None` if they never were."""
    micros = connection.execute(select(governors.c.examined_us).where(governors.c.model == model)).scalar()
    return None if micros is None else from_us(micros)


def note_examined(connection: Connection, model: str, until: datetime) -> None:
    """Labels were examined up to a moment."""
    connection.execute(update(governors).where(governors.c.model == model).values(examined_us=to_us(until)))


def put_aside(
    connection: Connection, model: str, key_id: str | None, begin: datetime, until: datetime, reason: str
) -> int:
    """Set a key's labels of a window aside, but those that a person vouched for; how many."""
    f = feedback.c
    mine = (f.key_id == key_id, f.at_us > to_us(begin), f.at_us <= to_us(until))
    return _move_aside(connection, model, mine, reason)


def put_future_aside(connection: Connection, model: str, reason: str) -> int:
    """Set labels aside that say they became known more than a day after they came, for predictions of before; how many."""
    f, p = feedback.c, predictions.c
    of_before = select(p.id).where(p.id == f.id, p.at_us <= f.arrived_us + DAY_US).exists()
    return _move_aside(connection, model, (f.at_us > f.arrived_us + DAY_US, of_before), reason)


def _move_aside(connection: Connection, model: str, which: Sequence[ColumnElement[bool]], reason: str) -> int:
    f = feedback.c
    mine = (f.model == model, f.vouched != true(), *which)
    if not connection.execute(select(f.id).where(*mine).limit(1)).first():
        return 0
    newest = select(func.coalesce(func.max(set_aside.c.batch), 0)).where(set_aside.c.model == model)
    batch = connection.execute(newest).scalar_one() + 1
    columns = ["id", "model", "label", "at_us", "arrived_us", "key_id"]
    rows = select(*(f[name] for name in columns), literal(batch), literal(reason), literal(now_us())).where(*mine)
    moved = insert(set_aside).from_select([*columns, "batch", "reason", "set_us"], rows)
    connection.execute(moved)
    there = select(set_aside.c.id).where(set_aside.c.model == model, set_aside.c.batch == batch)
    count = connection.execute(delete(feedback).where(f.id.in_(there))).rowcount
    record(connection, "flow", "set labels aside", model, None, {"batch": batch, "labels": count, "reason": reason})
    return count


def batches(ledger: Ledger, model: str) -> list[Batch]:
    """What is set aside, newest batch first."""
    s = set_aside.c
    query = (
        select(s.batch, s.key_id, func.count(), s.reason, func.min(s.at_us), func.max(s.at_us), func.max(s.set_us))
        .where(s.model == model)
        .group_by(s.batch, s.key_id, s.reason)
        .order_by(s.batch.desc())
    )
    with ledger.engine.connect() as connection:
        return [
            Batch(batch, key, count, reason, from_us(first), from_us(last), from_us(when))
            for batch, key, count, reason, first, last, when in connection.execute(query)
        ]


def release(ledger: Ledger, model: str, who: str, batch: int | None = None) -> int:
    """Count and learn from labels again; a person has looked at them, so they are never set aside again.

    Args:
        ledger: Where they are.
        model: The model.
        who: Whom the audit names.
        batch: One batch; all, when left out.

    Raises:
        NotFound: There is nothing such set aside.
    """
    with ledger.change() as connection:
        hold(connection, model)
        columns = ["id", "model", "label", "at_us", "arrived_us", "key_id"]
        rows = select(*(set_aside.c[name] for name in columns), true()).where(*_which(model, batch))
        connection.execute(insert(feedback).from_select([*columns, "vouched"], rows))
        return _let_go(connection, model, who, batch, "release labels")


def drop(ledger: Ledger, model: str, who: str, batch: int | None = None) -> int:
    """Delete labels that are set aside; their predictions are without a label again. Arguments and errors as of `release`."""
    with ledger.change() as connection:
        hold(connection, model)
        return _let_go(connection, model, who, batch, "drop labels")


def _let_go(connection: Connection, model: str, who: str, batch: int | None, what: str) -> int:
    count = connection.execute(delete(set_aside).where(*_which(model, batch))).rowcount
    if not count:
        which = "No labels" if batch is None else f"No labels of batch {batch}"
        raise NotFound(f"{which} of '{model}' are set aside. `treadle labels list {model}` shows what is.")
    record(connection, who, what, model, {"batch": batch, "labels": count}, None)
    return count


def _which(model: str, batch: int | None) -> list[ColumnElement[bool]]:
    return [set_aside.c.model == model, *([set_aside.c.batch == batch] if batch is not None else [])]
