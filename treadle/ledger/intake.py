"""Answered rows on their way into the table of predictions: the one place where the ledger is in a hurry.

Rows are plain tuples here, in the order of `Entry`, and go in many a statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, insert

from treadle.ledger.journal import Entry, Values
from treadle.ledger.labels import adopt
from treadle.ledger.tables import predictions

_TOGETHER = 50
"""Rows in one statement of SQLite's: a third less of its time than one a statement; from here on more gains nothing."""
_ROW = f"({', '.join('?' * len(Entry._fields))})"
_INTO = f"INTO predictions ({', '.join(Entry._fields)}) VALUES {_ROW}"


def add(connection: Connection, rows: Sequence[Values]) -> None:
    """Insert rows that must be new, and give them the labels that wait for them.

    Raises:
        IntegrityError: An id is there already.
    """
    if connection.dialect.name == "sqlite":
        _insert(connection, f"INSERT {_INTO}", rows)
    else:
        connection.execute(insert(predictions), list(_named(rows)))
    adopt(connection, (row[0] for row in rows))


def absorb(connection: Connection, rows: Sequence[Values]) -> None:
    """As `add`, but rows whose ids are there already change nothing."""
    if connection.dialect.name == "sqlite":
        _insert(connection, f"INSERT OR IGNORE {_INTO}", rows)
    else:
        from sqlalchemy.dialects.postgresql import insert as upsert

        connection.execute(upsert(predictions).on_conflict_do_nothing(), list(_named(rows)))
    adopt(connection, (row[0] for row in rows))


def _insert(connection: Connection, one: str, rows: Sequence[Values]) -> None:
    """Run a statement that inserts one row for all of them, in their order."""
    end = len(rows) - len(rows) % _TOGETHER
    if end:
        groups = [tuple(chain.from_iterable(rows[i : i + _TOGETHER])) for i in range(0, end, _TOGETHER)]
        connection.exec_driver_sql(one + f", {_ROW}" * (_TOGETHER - 1), groups)
    if end < len(rows):
        connection.exec_driver_sql(one, list(map(tuple, rows[end:])))


def _named(rows: Sequence[Values]) -> Iterator[dict[str, Any]]:
    return (dict(zip(Entry._fields, row, strict=True)) for row in rows)
