"""Triggers in the ledger: wishes to retrain, and what became of each. Plain rows and questions; weighs nothing.

Every function works on the caller's connection. `hold` makes the callers of one model follow one after another, so that
what one has read is still true when it writes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import champions, costs, decisions, governors, leases, triggers

State = Literal["granted", "running", "ended", "held", "refused", "merged", "withdrawn", "lost"]
"""`granted` no train run has begun it yet; `running`, `ended`; `held` waits for a better moment; `refused` does not;
`merged` another trigger was granted for it too; `withdrawn` it is not needed any more; `lost` no run ever began."""
JUDGED = ("promoted", "kept", "rejected", "rolled-back", "rollback", "breaker-closed")
"""Kinds of decisions that say what became of a challenger, or that a person has closed the breaker."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One wish to retrain.

    Attributes:
        seq: Its number, for all models together.
        said: The verdict's reason.
        champion: The champion of which the verdict spoke.
        rule: The rule that suppressed it.
        reason: The decision in plain words.
        answer: The trigger that was granted for it too.
        arrived: Wall-clock time at which it was recorded.
        asked: Wall-clock time at which its train run was asked for last.
    """

    seq: int
    model: str
    verdict: str
    said: str
    champion: int | None
    state: State
    rule: str | None
    reason: str
    answer: int | None
    run_id: str | None
    at: datetime
    arrived: datetime
    asked: datetime | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a challenger.

    Attributes:
        kind: One of `JUDGED`.
    """

    seq: int
    kind: str
    at: datetime


def hold(connection: Connection, model: str) -> None:
    """Wait for, and take, the right to decide about a model until the transaction ends; call it first."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as upsert
    else:
        from sqlalchemy.dialects.postgresql import insert as upsert
    connection.execute(upsert(governors).values(model=model, turns=0).on_conflict_do_nothing())
    connection.execute(update(governors).where(governors.c.model == model).values(turns=governors.c.turns + 1))


def champion_of(connection: Connection, model: str) -> int | None:
    """The champion's version."""
    return connection.execute(select(champions.c.version).where(champions.c.model == model)).scalar()


def lease_is_held(connection: Connection, model: str) -> bool:
    """Whether a train run of the model is in flight."""
    alive = select(leases.c.model).where(leases.c.model == model, leases.c.expires_us >= now_us())
    return connection.execute(alive).first() is not None


def retrains(connection: Connection, model: str, at: datetime, span: timedelta) -> list[datetime]:
    """Event times of the retrains that were decided within `span` before and after a moment."""
    d = decisions.c
    query = select(d.at_us).where(
        d.model == model, d.kind == "retrain", d.at_us >= to_us(at - span), d.at_us <= to_us(at + span)
    )
    return [from_us(micros) for micros in connection.execute(query).scalars()]


def train_minutes(connection: Connection, model: str, since: datetime, until: datetime) -> float:
    """CPU minutes of training within event times."""
    c = costs.c
    query = select(func.coalesce(func.sum(c.cpu_seconds), 0.0)).where(
        c.model == model, c.flow == "train", c.at_us >= to_us(since), c.at_us <= to_us(until)
    )
    return float(connection.execute(query).scalar_one()) / 60


def judged(connection: Connection, model: str, most: int = 100) -> list[Judged]:
    """What became of the newest challengers, newest first."""
    d = decisions.c
    query = select(d.seq, d.kind, d.at_us).where(d.model == model, d.kind.in_(JUDGED)).order_by(d.seq.desc())
    return [Judged(row.seq, row.kind, from_us(row.at_us)) for row in connection.execute(query.limit(most))]


def add(connection: Connection, trigger: dict[str, Any]) -> int:
    """Record a trigger; its number."""
    row = {"arrived_us": now_us()} | trigger
    return int(connection.execute(insert(triggers).values(**row).returning(triggers.c.seq)).scalar_one())


def add_decision(
    connection: Connection, model: str, kind: str, reason: str, figures: str, at: datetime
) -> None:  # fmt: skip
    """Write a decision down within the caller's transaction."""
    row = {"model": model, "kind": kind, "reason": reason, "figures": figures, "at_us": to_us(at)}
    connection.execute(insert(decisions).values(**row, arrived_us=now_us()))


def in_state(connection: Connection, model: str, *states: State) -> list[Trigger]:
    """The triggers in these states, oldest first."""
    t = triggers.c
    query = select(triggers).where(t.model == model, t.state.in_(states)).order_by(t.seq)
    return [_trigger(row) for row in connection.execute(query)]


def get(connection: Connection, seq: int) -> Trigger | None:
    """One trigger."""
    row = connection.execute(select(triggers).where(triggers.c.seq == seq)).first()
    return None if row is None else _trigger(row)


def by_origin(connection: Connection, model: str, origin: str) -> Trigger | None:
    """The trigger that a run has recorded."""
    row = connection.execute(select(triggers).where(triggers.c.model == model, triggers.c.origin == origin)).first()
    return None if row is None else _trigger(row)


def change(connection: Connection, seq: int, before: State, **values: Any) -> bool:
    """Give a trigger that is in the state `before` new values; whether it was."""
    mine = update(triggers).where(triggers.c.seq == seq, triggers.c.state == before)
    return connection.execute(mine.values(**values)).rowcount == 1


def count_waiting(connection: Connection, model: str) -> int:
    """How many triggers wait for a better moment."""
    query = select(func.count()).select_from(triggers).where(*_waiting(model))
    return int(connection.execute(query).scalar_one())


def newest_waiting(connection: Connection, model: str) -> Trigger:
    """The newest of those that wait; there must be one."""
    query = select(triggers).where(*_waiting(model)).order_by(triggers.c.seq.desc()).limit(1)
    return _trigger(connection.execute(query).one())


def answer_waiting(connection: Connection, model: str, seq: int) -> int:
    """Let a granted trigger answer all that wait; how many did."""
    merged = update(triggers).where(*_waiting(model)).values(state="merged", answer=seq)
    return connection.execute(merged).rowcount


def withdraw_waiting(connection: Connection, model: str, why: str, *conditions: Any) -> int:
    """End the waiting; the reason for which each was held stays, and `why` is added. How many waited."""
    reason = triggers.c.reason + f" {why}"
    withdrawn = update(triggers).where(*_waiting(model), *conditions).values(state="withdrawn", reason=reason)
    return connection.execute(withdrawn).rowcount


def settle_waiting(connection: Connection, model: str, champion: int | None) -> None:
    """Triggers that spoke of another champion wait no longer; a grant that nobody began in a day of the clock is lost."""
    other = triggers.c.champion.is_distinct_from(champion)
    withdraw_waiting(connection, model, f"Version {champion} is champion by now.", other)
    t, day, now = triggers.c, 86_400_000_000, now_us()
    old = update(triggers).where(t.model == model, t.state == "granted", ~t.arrived_us.between(now - day, now + day))
    connection.execute(old.values(state="lost"))


def end_dead(connection: Connection, model: str) -> None:
    """Runs that are in flight no more and did not say so: their processes died."""
    t = triggers.c
    connection.execute(update(triggers).where(t.model == model, t.state == "running").values(state="ended"))


def _waiting(model: str) -> tuple[Any, Any]:
    return triggers.c.model == model, triggers.c.state == "held"


def suppressed(connection: Connection, model: str, since: datetime | None = None) -> dict[str, int]:
    """How many triggers each rule suppressed, the most first."""
    t = triggers.c
    query = select(t.rule, func.count().label("times")).where(t.model == model, t.rule.is_not(None)).group_by(t.rule)
    if since is not None:
        query = query.where(t.at_us >= to_us(since))
    rows = connection.execute(query.order_by(func.count().desc(), t.rule)).all()
    return {row.rule: row.times for row in rows}


def last(connection: Connection, model: str, most: int) -> list[Trigger]:
    """The newest triggers, newest first."""
    query = select(triggers).where(triggers.c.model == model).order_by(triggers.c.seq.desc()).limit(most)
    return [_trigger(row) for row in connection.execute(query)]


def now_us() -> int:
    """Wall-clock time."""
    return time.time_ns() // 1000


def _trigger(row: Any) -> Trigger:
    return Trigger(
        row.seq, row.model, row.verdict, row.said, row.champion, row.state, row.rule, row.reason, row.answer,
        row.run_id, from_us(row.at_us), from_us(row.arrived_us),
        None if row.asked_us is None else from_us(row.asked_us),
    )  # fmt: skip
