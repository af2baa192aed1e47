"""The audit: who changed what, and who was refused. Rows are only ever added, and each holds the hash of the one before.

The chain's length and last hash are kept in a row of their own and, as the *anchor*, in a file beside the ledger, so
that rows cut off the end are missed too. Knows nothing of the things that it records.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, insert, select, true, update

from treadle.ledger.records import from_us, to_us
from treadle.ledger.tables import audit, audit_head

Outcome = Literal["allowed", "denied"]
_FIELDS = ("at_us", "key_id", "who", "what", "subject", "outcome", "times", "before", "after")
_LENGTHS = {"who": 128, "what": 64, "subject": 128}


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the audit.

    Attributes:
        seq: Its place in the chain, from 1.
        key_id: The key that asked; `None` for a person at the command line or a flow.
        times: How often it happened; more than 1 only for refusals, which are counted by the minute.
        before: The value before the change.
        after: The value after it.
    """

    seq: int
    at: datetime
    key_id: str | None
    who: str
    what: str
    subject: str
    outcome: str
    times: int
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at the whole chain said.

    Attributes:
        rows: Rows that were looked at.
        trouble: What is wrong and at which row; `None` when the chain is whole.
    """

    rows: int
    trouble: str | None


def record(
    connection: Connection,
    who: str,
    what: str,
    subject: str,
    before: object = None,
    after: object = None,
    outcome: Outcome = "allowed",
    *,
    key_id: str | None = None,
    times: int = 1,
) -> int:
    """Add a row to the audit within the caller's transaction, so that the change and its record stand or fall together.

    Call it last in the transaction: from here on to its end, all other writers of the audit wait.

    Args:
        connection: The connection on which the change was made.
        who: The person, flow or key that did it.
        what: The verb, such as `promote`.
        subject: What it was done to, such as a project's name.
        before: The value before, anything that JSON can hold; no caller's data.
        after: The value after it.
        outcome: `denied` for an attempt that was refused.
        key_id: The key that asked.
        times: How often it happened.

    Returns:
        The row's place in the chain.
    """
    head = audit_head.c
    # One statement that writes takes the lock, on SQLite as on PostgreSQL, and reads what the one before left.
    taken = connection.execute(update(audit_head).values(length=head.length + 1).returning(head.length, head.hash))
    seq, prev = taken.one()
    row = {
        "at_us": to_us(datetime.now(UTC)), "key_id": key_id, "who": who, "what": what, "subject": subject,
        "outcome": outcome, "times": times, "before": _text(before), "after": _text(after),
    }  # fmt: skip
    row |= {name: _printable(str(row[name]))[:length] for name, length in _LENGTHS.items()}
    link = _hash(prev, seq, row)
    connection.execute(insert(audit).values(seq=seq, prev_hash=prev, hash=link, **row))
    connection.execute(update(audit_head).values(hash=link))
    return seq


def _text(value: object) -> str | None:
    return None if value is None else json.dumps(value, default=str)


def _printable(text: str) -> str:
    """The text without what terminals obey and databases refuse."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _hash(prev: str, seq: int, row: Any) -> str:
    """SHA-256, in hex, over the hash before and every value of the row as one JSON list, which no two rows share."""
    values = [prev, seq, *(row[name] for name in _FIELDS)]
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()


def last(engine: Engine, n: int) -> list[AuditRow]:
    """The newest rows, oldest of them first."""
    with engine.connect() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(n)).all()
    return [
        AuditRow(
            r.seq, from_us(r.at_us), r.key_id, r.who, r.what, r.subject, r.outcome, r.times, _value(r.before),
            _value(r.after),
        )
        for r in reversed(rows)
    ]  # fmt: skip


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def verify(engine: Engine, anchor: Path | None = None) -> Finding:
    """Follow the chain from its first row to its head, and look whether it still holds what the anchor says.

    Args:
        engine: The ledger's database.
        anchor: The file of `keep_anchor`.

    Returns:
        The first thing that is wrong.
    """
    kept = _read_anchor(anchor) if anchor else None
    with engine.connect() as connection:
        heads = connection.execute(select(audit_head.c.length, audit_head.c.hash)).all()
        if len(heads) != 1:
            return Finding(0, "The row that tells how long the audit is, is gone or there twice.")
        # Head and rows in one statement, so that what others add meanwhile is in both or in neither.
        head = (audit_head.c.length, audit_head.c.hash.label("end"))
        query = select(*head, audit).select_from(audit_head.outerjoin(audit, true())).order_by(audit.c.seq)
        return _follow(connection.execute(query.execution_options(yield_per=1000)).mappings(), kept)


def _follow(rows: Iterable[Any], kept: tuple[int, str] | None) -> Finding:
    """The first thing that is wrong with the rows, oldest first."""
    prev, seq, length, end = "", 0, 0, ""
    for row in rows:
        length, end = row["length"], row["end"]
        if row["seq"] is None:  # the head of an empty audit
            break
        trouble = _misfit(row, seq + 1, prev, kept)
        if trouble:
            return Finding(seq, trouble)
        seq, prev = seq + 1, row["hash"]
    if seq < length:
        return Finding(seq, f"Row {seq + 1} is missing: the audit ends too early, it had {length} rows.")
    if seq > length or prev != end:
        return Finding(seq, f"Row {seq} is not the last one that was written by Treadle, which was row {length}.")
    if kept is not None and kept[0] > length:
        return Finding(seq, f"Row {length + 1} is missing: the anchor has seen {kept[0]} rows.")
    return Finding(seq, None)


def _misfit(row: Any, place: int, prev: str, kept: tuple[int, str] | None) -> str | None:
    """Why a row does not belong to its place in the chain."""
    if row["seq"] != place:
        return f"Row {place} is missing; in its place is row {row['seq']}."
    if row["prev_hash"] != prev:
        return f"Row {place} does not follow row {place - 1}: one of them was changed, put in or moved."
    if row["hash"] != _hash(prev, place, row):
        return f"Row {place} was changed after it was written."
    if kept is not None and kept[0] == place and kept[1] != row["hash"]:
        return f"Row {place} is not the one that the anchor names: the audit was written anew."
    return None


def keep_anchor(engine: Engine, anchor: Path) -> bool:
    """Write the chain's length and last hash into a file, unless the chain does not hold what the file says already.

    Called after a transaction, never within it: a change that is rolled back must not leave its mark here.

    Returns:
        Whether the chain and the file agree.
    """
    kept = _read_anchor(anchor)
    with engine.connect() as connection:
        head = connection.execute(select(audit_head.c.length, audit_head.c.hash)).first()
        if head is None or kept == tuple(head):
            return head is not None
        if kept is not None and kept[0] > 0:
            known = connection.execute(select(audit.c.hash).where(audit.c.seq == kept[0])).scalar()
            if known != kept[1] or kept[0] > head.length:
                return False
    anchor.parent.mkdir(parents=True, exist_ok=True)
    draft = anchor.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    draft.write_text(f"{head.length} {head.hash}\n", encoding="ascii")
    draft.replace(anchor)
    return True


def _read_anchor(anchor: Path) -> tuple[int, str] | None:
    """Length and hash; `None` where no anchor was dropped yet. One that cannot be read matches no chain."""
    try:
        text = anchor.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return (1, "")
    length, _, end = text.strip().partition(" ")
    return (int(length), end) if length.isdigit() else (1, "")
