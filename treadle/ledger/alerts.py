"""The alerts of a ledger as people and the courier see them: acknowledged, silenced, put into words, carried out.

A message is made of what was not told yet, laid out once for each channel, and delivered at least once: whoever tries
holds the delivery for a while, so that two processes do not send the same. Nobody's secrets are in here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from treadle.alerting.alerts import KINDS, Notice, is_told
from treadle.errors import NotFound
from treadle.ledger.alert_rows import follow_look, now_us, raise_alert
from treadle.ledger.audit import record
from treadle.ledger.ledger import Ledger
from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import alert_deliveries, alert_messages, alert_silences, alerts, leases
from treadle.project import Alerts as Rules

HOLD = timedelta(minutes=2)
"""A delivery is one process's for so long."""
FRESH = timedelta(days=1)
"""What waited longer for the first channel to be named is no news any more."""
PATIENCE = timedelta(days=7)
"""After so long a message that a channel did not take is given up, and `treadle alerts list` says so."""
FIRST_PAUSE_S, MOST_PAUSE_S = 10.0, 3600.0
NEVER_MIND = "never mind"
DEAD_GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        seq: Its number.
        subject: What tells it from others of its kind, such as a version.
        state: `open` or `resolved`.
        findings: What it consists of.
        told: The findings that somebody was told of.
        evidence: `lines`, headings and texts; `page`, an address or `None`.
        times: How often it was raised.
        at: Event time of the first time.
        last: Event time of the last look at it.
        raised: When it was raised first, by the wall clock.
        acknowledged: When and by whom; `None` while nobody has.
        resolved: When it ended.
        silenced_until: Until when nothing is told of it.
        deliveries: What became of its messages: `channel: state`.
    """

    seq: int
    model: str
    kind: str
    subject: str
    severity: str
    state: str
    reason: str
    findings: tuple[str, ...]
    told: tuple[str, ...]
    evidence: dict[str, Any]
    times: int
    at: datetime
    last: datetime
    raised: datetime
    acknowledged: datetime | None
    acknowledged_by: str | None
    resolved: datetime | None
    silenced_until: datetime | None
    deliveries: tuple[str, ...]

    def as_row(self) -> dict[str, Any]:
        """It as commands and the API show it."""
        return {
            "id": self.seq, "project": self.model, "kind": self.kind, "said": KINDS[self.kind].said,
            "subject": self.subject, "severity": self.severity, "state": self.state, "reason": self.reason,
            "findings": list(self.findings), "times": self.times, "at": _text(self.at), "last": _text(self.last),
            "acknowledged": _text(self.acknowledged), "acknowledged_by": self.acknowledged_by,
            "resolved": _text(self.resolved), "silenced_until": _text(self.silenced_until),
            "page": self.evidence.get("page"), "deliveries": list(self.deliveries),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to one channel."""

    message: int
    channel: str
    severity: str
    title: str
    body: str
    attempts: int
    made: datetime


class AlertBook:
    """The alerts of one ledger; every method is one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def follow_look(
        self, model: str, verdict: str, notices: Sequence[Notice], at: datetime, resolve_after: int
    ) -> int | None:
        """What a look means for the alerts, see `treadle.ledger.alert_rows.follow_look`."""
        with self._ledger.engine.begin() as connection:
            return follow_look(connection, model, verdict, list(notices), at, resolve_after=resolve_after)

    def list(self, model: str | None = None, n: int = 50, *, resolved: bool = False) -> list[Alert]:
        """The newest alerts of a model or of all, newest first; only the open ones, unless asked otherwise."""
        query = select(alerts).order_by(alerts.c.seq.desc()).limit(n)
        if model is not None:
            query = query.where(alerts.c.model == model)
        if not resolved:
            query = query.where(alerts.c.state == "open")
        with self._ledger.engine.connect() as connection:
            silences = _silences(connection)
            rows = connection.execute(query).all()
            sent = _deliveries(connection, [row.seq for row in rows])
        return [_alert(row, silences, sent.get(row.seq, ())) for row in rows]

    def has_open(self, model: str, kind: str, subject: str) -> bool:
        """Whether such an alert is open."""
        a = alerts.c
        mine = select(a.seq).where(a.model == model, a.kind == kind, a.subject == subject, a.state == "open")
        with self._ledger.engine.connect() as connection:
            return connection.execute(mine).first() is not None

    def acknowledge(self, seq: int, who: str, model: str | None = None, key_id: str | None = None) -> None:
        """Take an alert upon oneself: nobody is told more of it until it ends.

        Raises:
            NotFound: There is no open alert of that number, or not of that model.
        """
        mine = [alerts.c.seq == seq, alerts.c.state == "open", *([alerts.c.model == model] if model else [])]
        with self._ledger.change() as connection:
            taken = update(alerts).where(*mine).values(acknowledged_us=now_us(), acknowledged_by=who[:128])
            name = connection.execute(taken.returning(alerts.c.model)).scalar()
            if name is None:
                raise NotFound(f"There is no open alert {seq}. `treadle alerts list` shows which are open.")
            record(connection, who, "alert acknowledged", name, None, seq, key_id=key_id)

    def silence(
        self, model: str | None, kind: str | None, until: datetime, who: str, key_id: str | None = None
    ) -> None:
        """Tell nothing until a time; a time that is past ends a silence. What is still open then is told."""
        s = alert_silences.c
        same = (_is(s.model, model), _is(s.kind, kind))
        with self._ledger.change() as connection:
            connection.execute(delete(alert_silences).where(or_(and_(*same), s.until_us < now_us())))
            connection.execute(
                insert(alert_silences).values(model=model, kind=kind, until_us=to_us(until), who=who[:128])
            )
            said = {"kind": kind, "until": until.isoformat()}
            record(connection, who, "alerts silenced", model or "all projects", None, said, key_id=key_id)

    # What the courier does

    def find_dead_turns(self) -> None:
        """Raise an alert for train runs whose process died: their lease ran out, and nobody gave it back."""
        row = leases.c
        dead = select(row.model, row.fence).where(row.expires_us > 0, row.expires_us < now_us() - _us(DEAD_GRACE))
        with self._ledger.engine.connect() as connection:
            found = connection.execute(dead).all()
        for model, fence in found:
            reason = "The process of a train run died before its end; the next train goes on where it stopped."
            notice = Notice(
                "train-failed",
                "",
                KINDS["train-failed"].severity,
                reason,
                (f"run {fence}",),
                (("What happened", reason),),
            )
            with self._ledger.engine.begin() as connection:
                known = select(alerts.c.findings).where(
                    alerts.c.model == model, alerts.c.kind == "train-failed", alerts.c.state == "open"
                )
                if f'"run {fence}"' not in str(connection.execute(known).scalar()):
                    raise_alert(connection, model, notice, datetime.now(UTC))

    def write_messages(self, rules_of: Callable[[str], Rules], say: Callable[[Alert, str], tuple[str, str]]) -> int:
        """Put into words what was not told yet, as far as projects, people and silences allow.

        Args:
            rules_of: A project's `alerts` by its name.
            say: Title and body of an alert and what is new: `new`, `more` or `over`.

        Returns:
            How many messages were made.
        """
        with self._ledger.engine.connect() as connection:
            silences = _silences(connection)
            waiting = or_(alerts.c.state == "open", alerts.c.resolved_told == 0)
            rows = connection.execute(select(alerts).where(waiting).order_by(alerts.c.seq)).all()
        made = 0
        for row in rows:
            alert = _alert(row, silences, ())
            what = _untold(alert, rules_of(alert.model))
            if what is not None:
                made += self._write(row, alert, what, *(say(alert, what) if what != NEVER_MIND else ("", "")))
        return made

    def _write(self, row: Any, alert: Alert, what: str, title: str, body: str) -> int:
        """One message and the note that it was made, both or neither; none if another process was first."""
        told = {"told": json.dumps(alert.findings), "resolved_told": int(what in ("over", NEVER_MIND))}
        unchanged = (alerts.c.seq == row.seq, alerts.c.told == row.told, alerts.c.resolved_told == row.resolved_told)
        with self._ledger.engine.begin() as connection:
            if connection.execute(update(alerts).where(*unchanged).values(**told)).rowcount != 1 or what == NEVER_MIND:
                return 0
            connection.execute(
                insert(alert_messages).values(
                    alert=alert.seq, model=alert.model, severity="info" if what == "over" else alert.severity,
                    title=title, body=body, made_us=now_us(),
                )
            )  # fmt: skip
        return 1

    def add_message(self, severity: str, title: str, body: str) -> int:
        """A message that belongs to no alert, for every channel."""
        with self._ledger.engine.begin() as connection:
            values = {"severity": severity, "title": title, "body": body, "made_us": now_us()}
            made = connection.execute(insert(alert_messages).values(**values)).inserted_primary_key
        return int(made[0]) if made else 0

    def spread(self, channels_of: Callable[[str | None], Sequence[str]]) -> None:
        """Lay new messages out for the channels of their projects; without any channel they wait a day for one."""
        m = alert_messages.c
        with self._ledger.engine.connect() as connection:
            fresh = m.made_us > now_us() - _us(FRESH)
            rows = connection.execute(select(m.seq, m.model).where(m.spread_us.is_(None), fresh).order_by(m.seq)).all()
        for seq, model in rows:
            names = channels_of(model)
            if not names:
                continue
            with self._ledger.engine.begin() as connection:
                mine = update(alert_messages).where(m.seq == seq, m.spread_us.is_(None))
                if connection.execute(mine.values(spread_us=now_us())).rowcount == 1:
                    new = {"message": seq, "state": "waiting", "attempts": 0, "next_us": 0, "held_us": 0}
                    connection.execute(insert(alert_deliveries), [new | {"channel": name} for name in names])

    def take(self, channel: str) -> Delivery | None:
        """The oldest delivery of a channel that is due, held for this process; `None` if there is none."""
        d, m, now = alert_deliveries.c, alert_messages.c, now_us()
        due = and_(d.channel == channel, d.state == "waiting", d.next_us <= now, d.held_us <= now)
        with self._ledger.engine.begin() as connection:
            oldest = select(func.min(d.message)).where(due).scalar_subquery()
            hold = update(alert_deliveries).where(due, d.message == oldest).values(held_us=now + _us(HOLD))
            taken = connection.execute(hold.returning(d.message, d.attempts)).first()
            if taken is None:
                return None
            row = connection.execute(select(alert_messages).where(m.seq == taken.message)).one()
        return Delivery(row.seq, channel, row.severity, row.title, row.body, taken.attempts, from_us(row.made_us))

    def settle(self, delivery: Delivery, why: str | None) -> None:
        """Write down how a delivery went: it is done, is tried again later, or after a week given up."""
        d = alert_deliveries.c
        attempts = delivery.attempts + 1
        pause_s = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(delivery.attempts, 20))
        state = "sent" if why is None else "waiting"
        if why is not None and datetime.now(UTC) - delivery.made > PATIENCE:
            state = "given up"
        values = {"state": state, "attempts": attempts, "why": why and why[:200], "held_us": 0}
        values["next_us"] = now_us() + int(pause_s * 1e6)
        mine = update(alert_deliveries).where(d.message == delivery.message, d.channel == delivery.channel)
        with self._ledger.engine.begin() as connection:
            connection.execute(mine.where(d.state != "sent").values(**values))

    def prune(self, before: datetime) -> None:
        """Remove messages that were made before a moment and wait for nobody any more."""
        d, m = alert_deliveries.c, alert_messages.c
        waiting = select(d.message).where(d.state == "waiting")
        old = select(m.seq).where(m.made_us < to_us(before), m.seq.not_in(waiting))
        with self._ledger.engine.begin() as connection:
            connection.execute(delete(alert_deliveries).where(d.message.in_(old)))
            connection.execute(delete(alert_messages).where(m.made_us < to_us(before), m.seq.not_in(waiting)))

    def delivered(self, message: int) -> dict[str, str]:
        """What became of a message, by channel."""
        with self._ledger.engine.connect() as connection:
            d = alert_deliveries.c
            rows = connection.execute(select(d.channel, d.state, d.why, d.attempts).where(d.message == message))
            return {row.channel: _said(row) for row in rows}


def _untold(alert: Alert, rules: Rules) -> str | None:
    """What a message would be about: `new`, `more`, `over`; `never mind` closes what nobody was to know; else `None`."""
    is_wanted = alert.kind in rules.kinds and is_told(alert.severity, rules.severity)
    if alert.state == "resolved" and (not is_wanted and not alert.told):
        return NEVER_MIND
    if alert.silenced_until is not None or not is_wanted:
        return None
    if alert.state == "resolved":
        return "over"
    if alert.acknowledged is not None or set(alert.findings) <= set(alert.told):
        return None
    return "more" if alert.told else "new"


def _silences(connection: Connection) -> list[Any]:
    s = alert_silences.c
    return list(connection.execute(select(s.model, s.kind, s.until_us).where(s.until_us > now_us())))


def _deliveries(connection: Connection, seqs: list[int]) -> dict[int, tuple[str, ...]]:
    """What became of the newest message of each alert."""
    m, d = alert_messages.c, alert_deliveries.c
    newest = select(func.max(m.seq)).where(m.alert.in_(seqs)).group_by(m.alert)
    query = select(m.alert, d.channel, d.state, d.why, d.attempts).where(m.seq == d.message, m.seq.in_(newest))
    found: dict[int, tuple[str, ...]] = {}
    for row in connection.execute(query.order_by(d.channel)):
        found[row.alert] = (*found.get(row.alert, ()), f"{row.channel}: {_said(row)}")
    return found


def _said(row: Any) -> str:
    """How a delivery is."""
    return (
        row.state if row.state == "sent" or not row.attempts else f"{row.state} ({row.why}; tried {row.attempts} times)"
    )


def _alert(row: Any, silences: Sequence[Any], sent: Sequence[str]) -> Alert:
    until = [s.until_us for s in silences if s.model in (None, row.model) and s.kind in (None, row.kind)]
    return Alert(
        row.seq, row.model, row.kind, row.subject, row.severity, row.state, row.reason, tuple(json.loads(row.findings)),
        tuple(json.loads(row.told)), json.loads(row.evidence), row.times, from_us(row.at_us), from_us(row.last_us),
        from_us(row.raised_us), _moment(row.acknowledged_us), row.acknowledged_by, _moment(row.resolved_us),
        _moment(max(until, default=None)), tuple(sent),
    )  # fmt: skip


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _is(column: Any, value: str | None) -> Any:
    return column.is_(None) if value is None else column == value


def _us(span: timedelta) -> int:
    return int(span.total_seconds() * 1e6)
