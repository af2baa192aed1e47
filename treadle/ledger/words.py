"""What the ledger says in words: reasons, evidence, messages, the figures behind them. Words may quote a value of a row.

The audit is not among them: it holds no caller's data, and its rows never change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, false, select, update

from treadle.ledger.tables import (
    alert_messages,
    alerts,
    decisions,
    promotions,
    quality_looks,
    releases,
    triggers,
    verdicts,
)
from treadle.mentions import Mentions

AT_ONCE = 500


class Words(NamedTuple):
    """The columns of a table that quote.

    Attributes:
        texts: Plain ones.
        data: Those that hold JSON.
    """

    table: Table
    texts: tuple[str, ...]
    data: tuple[str, ...] = ()


WORDS = (
    Words(verdicts, ("reason",), ("figures",)),
    Words(decisions, ("reason",), ("figures",)),
    Words(triggers, ("said", "reason")),
    Words(promotions, ("reason",), ("figures",)),
    Words(releases, ("reason",), ("figures",)),
    Words(quality_looks, (), ("figures",)),
    Words(alerts, ("reason",), ("findings", "told", "evidence")),
    Words(alert_messages, ("title", "body")),
)


def take_out(connection: Connection, model: str, mentions: Mentions) -> int:
    """Take the mentions of a subject out of all that is said about a model.

    Returns:
        Rows that were changed.
    """
    # the first to write: on SQLite nobody else does until the end, on PostgreSQL the rows below are held
    connection.execute(update(alerts).where(false()).values(fine=0))
    return sum(_take_out(connection, model, words, mentions) for words in WORDS)


def _take_out(connection: Connection, model: str, words: Words, mentions: Mentions) -> int:
    seq, changed = words.table.c.seq, 0
    for row in _rows(connection, model, words):
        new = {name: mentions.without(row[name]) for name in words.texts}
        new |= {name: _without(row[name], mentions) for name in words.data}
        if any(new[name] != row[name] for name in new):
            connection.execute(update(words.table).where(seq == row["seq"]).values(**new))
            changed += 1
    return changed


def _rows(connection: Connection, model: str, words: Words) -> Iterator[Any]:
    """All rows about a model, some at a time."""
    c, last = words.table.c, -1
    columns = [c.seq, *(c[name] for name in (*words.texts, *words.data))]
    while True:
        query = select(*columns).where(c.model == model, c.seq > last).order_by(c.seq).limit(AT_ONCE)
        rows = connection.execute(query.with_for_update()).mappings().all()
        if not rows:
            return
        yield from rows
        last = rows[-1]["seq"]


def _without(content: str, mentions: Mentions) -> str:
    """JSON without the mentions; what has none stays as it was written, to the letter."""
    data = json.loads(content)
    without = mentions.without_in(data)
    return content if without == data else json.dumps(without)
