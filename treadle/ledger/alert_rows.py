"""Alerts as rows: what raises and ends them, within the transaction of what happened, so that none is lost.

One alert of a model, kind and subject is open at a time; whatever raises it again is counted. Every function writes
before it reads, so that two who do the same at once wait for each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from treadle.alerting.alerts import LOOK_KINDS, SEVERITIES, Notice, notice_of_decision, notice_of_refusal
from treadle.ledger.records import to_us
from treadle.ledger.tables import alert_deliveries, alert_messages, alert_silences, alerts, champions

TURN_ENDS = ("promoted", "kept", "rejected", "released", "pending-approval")
"""Decisions with which a train run ends well: it can run."""


def raise_alert(connection: Connection, model: str, notice: Notice, at: datetime, *, once_at: bool = False) -> int:
    """Open an alert, or count it with the one that is open.

    Args:
        connection: The connection of what happened.
        model: The model.
        notice: What is the case.
        at: Event time.
        once_at: Whether the same event time is the same event, which is counted once.

    Returns:
        The alert's number.
    """
    a, moment = alerts.c, to_us(at)
    mine = (a.model == model, a.kind == notice.kind, a.subject == notice.subject, a.state == "open")
    evidence = json.dumps({"lines": notice.lines, "page": notice.page})
    new = {
        "model": model, "kind": notice.kind, "subject": notice.subject, "severity": notice.severity, "state": "open",
        "reason": notice.reason, "findings": json.dumps(notice.findings), "told": "[]", "evidence": evidence, "times": 1,
        "fine": 0, "at_us": moment, "last_us": moment, "raised_us": now_us(), "resolved_told": 0,
    }  # fmt: skip
    while True:
        held = connection.execute(update(alerts).where(*mine).values(fine=0).returning(a.seq)).scalar()
        if held is not None:
            break
        made = connection.execute(_insert_new(connection).values(**new).returning(a.seq)).scalar()
        if made is not None:
            return int(made)
    row = connection.execute(select(alerts).where(a.seq == held)).one()
    findings = list(dict.fromkeys([*json.loads(row.findings), *notice.findings]))
    changes = {
        "times": row.times + (0 if once_at and row.last_us == moment else 1),
        "severity": max(row.severity, notice.severity, key=SEVERITIES.index),
        "reason": notice.reason, "findings": json.dumps(findings), "evidence": evidence, "last_us": moment,
    }  # fmt: skip
    connection.execute(update(alerts).where(a.seq == held).values(**changes))
    return int(held)


def _insert_new(connection: Connection) -> Any:
    """An insert that does nothing where another one came first."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as upsert
    else:
        from sqlalchemy.dialects.postgresql import insert as upsert
    return upsert(alerts).on_conflict_do_nothing()


def end_alerts(connection: Connection, model: str, kind: str, *conditions: Any) -> None:
    """End the open alerts of a kind."""
    mine = (alerts.c.model == model, alerts.c.kind == kind, alerts.c.state == "open", *conditions)
    connection.execute(update(alerts).where(*mine).values(state="resolved", resolved_us=now_us()))


def follow_look(
    connection: Connection, model: str, verdict: str, notices: list[Notice], at: datetime, *, resolve_after: int
) -> int | None:
    """What a look means for the alerts: it raises its own, and after enough good ones they end.

    A look that could not judge (`insufficient-data`) is neither good nor bad.

    Returns:
        The number of the alert that the look is, if it is one.
    """
    raised = [raise_alert(connection, model, notice, at, once_at=True) for notice in notices]
    if verdict == "ok":
        a, moment = alerts.c, to_us(at)
        open_ones = (a.model == model, a.state == "open", a.kind.in_(LOOK_KINDS))
        good = update(alerts).where(*open_ones, a.last_us != moment)
        connection.execute(good.values(fine=a.fine + 1, last_us=moment))
        for kind in LOOK_KINDS:
            end_alerts(connection, model, kind, a.fine >= resolve_after)
    return raised[0] if raised else None


def follow_decision(
    connection: Connection, model: str, kind: str, reason: str, figures: Mapping[str, Any], at: datetime
) -> None:
    """What a decision means for the alerts."""
    notice = notice_of_decision(kind, reason, figures)
    if kind in TURN_ENDS:
        end_alerts(connection, model, "train-failed")
    if kind in ("promoted", "kept") and figures.get("version") is not None:
        end_alerts(connection, model, "approval", alerts.c.subject == f"version {figures['version']}")
    if kind == "retrain":
        end_alerts(connection, model, "retrain-stopped")
    if notice is not None:
        raise_alert(connection, model, notice, at)


def follow_swap(connection: Connection, model: str, version: int, *, is_rollback: bool) -> None:
    """What another champion means for the alerts."""
    end_alerts(connection, model, "not-served", alerts.c.subject != f"version {version}")
    end_alerts(connection, model, "approval", alerts.c.subject == f"version {version}")
    if not is_rollback:
        end_alerts(connection, model, "rolled-back")


def follow_bundle(connection: Connection, what: str, subject: str, why: object, at: datetime) -> None:
    """What it means that the service refused a bundle, or opened one that it had refused before."""
    model, _, version = subject.rpartition("/")
    if what == "bundle opened":
        end_alerts(connection, model, "not-served", alerts.c.subject == f"version {version}")
    elif what == "bundle refused" and version.isdigit():
        champion = connection.execute(select(champions.c.version).where(champions.c.model == model)).scalar()
        if champion == int(version):
            raise_alert(connection, model, notice_of_refusal(int(version), str(why)), at)


def forget_alerts(connection: Connection, model: str) -> None:
    """Remove all about one model: the project starts anew."""
    own = select(alert_messages.c.seq).where(alert_messages.c.model == model)
    connection.execute(delete(alert_deliveries).where(alert_deliveries.c.message.in_(own)))
    for table in (alert_messages, alerts, alert_silences):
        connection.execute(delete(table).where(table.c.model == model))


def now_us() -> int:
    """The wall clock: silences, deliveries and acknowledgements are a person's hours, not a stream's."""
    return time.time_ns() // 1000
