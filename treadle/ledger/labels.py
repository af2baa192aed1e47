"""Labels as they come: late, again, in any order, or before their prediction. What is stored depends on none of that.

The first label of a prediction stands, another one is a conflict; of its times the earliest counts. A label whose
prediction is not there yet may wait for it, if its sender says so: bounded in number and in time.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict, NotFound
from treadle.ledger.records import Counts, Feedback, to_us
from treadle.ledger.tables import early_labels, feedback, predictions, set_aside

MOST_EARLY = 10_000
"""Labels of one model that may wait for their predictions."""
EARLY_DAYS = 30
"""For so long; then nobody will answer such a row any more."""
AHEAD = timedelta(minutes=5)
"""Clocks differ by so much; a label dated farther ahead waits for its time, and its sender is told."""
_MANY = 500  # ids in one IN list
_ANY_EARLY = select(literal(1)).select_from(early_labels).limit(1)


class _Stored(NamedTuple):
    """What is known of an id: its label as JSON and since when; both `None` for a prediction without a label."""

    label: str | None
    at_us: int | None


def add_labels(
    engine: Engine,
    model: str,
    labels: Sequence[Feedback],
    early: Container[str] = (),
    attempts: int = 3,
    key_id: str | None = None,
) -> Counts:
    """Commit labels, all or none.

    Args:
        engine: The ledger's.
        model: The model whose predictions they name.
        labels: The labels; one that is there already changes nothing, except that its earliest time counts.
        early: Ids whose labels may come before their prediction, and then wait for it.
        attempts: How often it is tried again when others write the same labels at the same time.
        key_id: The key that gives them; `None` while there are no keys.

    Raises:
        NotFound: An id was never answered by this model, and its label may not wait, or too many wait.
        Conflict: A prediction has another label already.
    """
    wanted = _earliest(labels)
    answered, waiting = _stored(engine, model, list(wanted))
    if answered.keys() & waiting.keys():  # the two came at the same moment, each unseen by the other
        with engine.begin() as connection:
            adopt(connection, answered.keys() & waiting.keys())
        answered, waiting = _stored(engine, model, list(wanted))
    known = waiting | answered
    _refuse_unknown(model, labels, known, early)
    _refuse_clashes(labels, known)
    fresh = [i for i in wanted if known.get(i, _Stored(None, None)).label is None]
    new, first = [i for i in fresh if i in answered], [i for i in fresh if i not in answered]
    moved = [i for i in wanted if i not in fresh and to_us(wanted[i].at) < (known[i].at_us or 0)]
    try:
        with engine.begin() as connection:
            _insert(connection, feedback, model, new, wanted, key_id)
            _insert(connection, early_labels, model, first, wanted, key_id)
            if first:
                _refuse_too_many(connection, model)
                adopt(connection, first)  # a prediction may have come since it was looked for
            for i in moved:
                table = feedback if i in answered else early_labels
                connection.execute(
                    update(table).where(table.c.id == i, table.c.model == model).values(at_us=to_us(wanted[i].at))
                )
    except IntegrityError:  # the same labels came twice at once: what is there now decides
        if attempts == 0:
            raise Conflict("These labels are being written by others again and again; send them once more.") from None
        return add_labels(engine, model, labels, early, attempts - 1, key_id)
    horizon = datetime.now(UTC) + AHEAD
    ahead = sum(label.at > horizon for label in wanted.values())
    return Counts(len(new), len(labels) - len(fresh), len(first), ahead)


def _earliest(labels: Iterable[Feedback]) -> dict[str, Feedback]:
    """One label an id, with the earliest time of those in the request."""
    wanted: dict[str, Feedback] = {}
    for label in labels:
        if label.id not in wanted or label.at < wanted[label.id].at:
            wanted[label.id] = label
    return wanted


def _stored(engine: Engine, model: str, ids: Sequence[str]) -> tuple[dict[str, _Stored], dict[str, _Stored]]:
    """What is stored of predictions that are there, set aside or not, and of labels that wait for theirs."""
    answered: dict[str, _Stored] = {}
    waiting: dict[str, _Stored] = {}
    joined = predictions.outerjoin(feedback, feedback.c.id == predictions.c.id)
    joined = joined.outerjoin(set_aside, set_aside.c.id == predictions.c.id)
    known = (func.coalesce(feedback.c[name], set_aside.c[name]) for name in ("label", "at_us"))
    there = select(predictions.c.id, *known).select_from(joined)
    e = early_labels.c
    with engine.connect() as connection:
        for some in _portions(ids):
            query = there.where(predictions.c.model == model, predictions.c.id.in_(some))
            answered |= {i: _Stored(*rest) for i, *rest in connection.execute(query)}
            query = select(e.id, e.label, e.at_us).where(e.model == model, e.id.in_(some))
            waiting |= {i: _Stored(*rest) for i, *rest in connection.execute(query)}
    return answered, waiting


def _portions(ids: Iterable[str]) -> Iterator[list[str]]:
    listed = list(ids)
    for begin in range(0, len(listed), _MANY):
        yield listed[begin : begin + _MANY]


def _refuse_unknown(
    model: str, labels: Sequence[Feedback], known: Mapping[str, _Stored], early: Container[str]
) -> None:
    unknown = [row for row, label in enumerate(labels) if label.id not in known and label.id not in early]
    if unknown:
        raise NotFound(f"{_which(unknown)} names no prediction of '{model}'; no label of this request was stored.")


def _refuse_clashes(labels: Sequence[Feedback], known: Mapping[str, _Stored]) -> None:
    """A label differs from the one that is there, or two of one request from each other."""
    first: dict[str, str] = {}
    clash = []
    for row, label in enumerate(labels):
        stored = known.get(label.id)
        said = json.dumps(label.label)
        there = stored.label if stored and stored.label is not None else first.setdefault(label.id, said)
        if said != there:
            clash.append(row)
    if clash:
        raise Conflict(f"{_which(clash)} differs from one that is there already; no label of this request was stored.")


def _refuse_too_many(connection: Connection, model: str) -> None:
    count = select(func.count()).select_from(early_labels).where(early_labels.c.model == model)
    if connection.execute(count).scalar_one() > MOST_EARLY:
        raise NotFound(
            f"Of '{model}' {MOST_EARLY:,} labels may wait for their predictions, and this request would make them more; "
            "no label of it was stored. Send it again when its rows are answered."
        )


def _insert(
    connection: Connection,
    table: Any,
    model: str,
    ids: Sequence[str],
    wanted: Mapping[str, Feedback],
    key_id: str | None,
) -> None:
    if ids:
        now = to_us(datetime.now(UTC))
        connection.execute(
            insert(table),
            [
                {"id": i, "model": model, "label": json.dumps(wanted[i].label), "at_us": to_us(wanted[i].at), "arrived_us": now,
                 "key_id": key_id}
                for i in ids
            ],
        )  # fmt: skip


def adopt(connection: Connection, ids: Iterable[str] | None = None) -> None:
    """Give labels that waited to their predictions, as far as those are there now.

    Args:
        connection: An open transaction.
        ids: Predictions that may have come; `None` is all.
    """
    if connection.execute(_ANY_EARLY).first() is None:
        return
    for some in [None] if ids is None else _portions(ids):
        e, p, f = early_labels.c, predictions.c, feedback.c
        among = () if some is None else (e.id.in_(some),)
        there = early_labels.join(predictions, and_(p.id == e.id, p.model == e.model)).outerjoin(feedback, f.id == e.id)
        now = literal(to_us(datetime.now(UTC)))
        rows = select(e.id, e.model, e.label, e.at_us, now, e.key_id).select_from(there).where(f.id.is_(None), *among)
        connection.execute(
            insert(feedback).from_select(["id", "model", "label", "at_us", "arrived_us", "key_id"], rows)
        )
        came = select(p.id).where(p.id == e.id, p.model == e.model).exists()
        connection.execute(delete(early_labels).where(came, *among))


def settle_early(engine: Engine, model: str, now: datetime) -> tuple[int, int]:
    """Join what can be joined and drop what has waited too long.

    Returns:
        Labels of the model that wait still, and labels that were dropped.
    """
    mine = early_labels.c.model == model
    old = early_labels.c.arrived_us < to_us(now - timedelta(days=EARLY_DAYS))
    with engine.begin() as connection:
        adopt(connection)
        dropped = connection.execute(delete(early_labels).where(mine, old)).rowcount
        left = connection.execute(select(func.count()).select_from(early_labels).where(mine)).scalar_one()
    return left, dropped


def _which(rows: Sequence[int]) -> str:
    """Labels by their place in the request: an id is the caller's data, which no error repeats.

    >>> _which([2]), _which([0, 3, 7])
    ('Label 2', 'Label 0 (and 2 more)')
    """
    return f"Label {rows[0]}" + (f" (and {len(rows) - 1} more)" if len(rows) > 1 else "")
