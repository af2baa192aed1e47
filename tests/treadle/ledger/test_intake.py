"""Rows come into the table of predictions whole and in order, however many go in one statement; on both databases."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from treadle.errors import Conflict
from treadle.ledger import Entry, Feedback, Ledger
from treadle.ledger.tables import predictions

ODD = [
    '{"x": "é ✓ \\u0000 \\ud83d"}',
    '{"x": 123456789012345678901234567890}',
    '{"x": {"y": ["{", "}"]}}',
    "{}",
    '{"x":"\'?%s:a"}',
]


def rows(count, begin=0):
    return [
        (f"{n:04x}", "toy", 3, 2**52 + n, 2**53 + n, ODD[n % len(ODD)], f'{{"prediction":{n}}}')
        for n in range(begin, begin + count)
    ]


def stored(ledger):
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(predictions).order_by(predictions.c.id))]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 120])
def test_rows_are_stored_as_they_are_and_once(ledger, count):
    ledger.absorb(rows(count))
    assert stored(ledger) == rows(count)
    ledger.absorb([(*row[:5], "{}", "{}") for row in rows(count)] + rows(7, count) + rows(7, count))
    assert stored(ledger) == rows(count + 7)  # what was there is untouched, what came twice is there once


def test_entries_and_plain_tuples_are_the_same(ledger):
    ledger.add_entries([Entry(*row) for row in rows(60)])
    ledger.absorb(rows(61))
    assert stored(ledger) == rows(61)


@pytest.mark.parametrize("place", [0, 30, 50, 59])
def test_new_rows_are_all_stored_or_none(ledger, place):
    ledger.add_entries(rows(1))
    clash = rows(60, 1)
    clash[place] = rows(1)[0]
    with pytest.raises(Conflict):
        ledger.add_entries(clash)
    assert stored(ledger) == rows(1)


def test_labels_that_waited_are_given_to_rows_of_every_statement(ledger):
    ids = [row[0] for row in rows(120)]
    waiting = [ids[n] for n in (0, 49, 50, 99, 100, 119)]
    ledger.add_feedback("toy", [Feedback(name, 1, datetime(2026, 1, 1, tzinfo=UTC)) for name in waiting], early=ids)
    ledger.absorb(rows(120))
    assert [row.id for row in ledger.labelled("toy")] == waiting


@pytest.mark.parametrize(("before", "pages"), [(None, 16_384), (4096, 4096)])
def test_a_new_file_has_large_pages_and_an_old_one_keeps_its_own(tmp_path, before, pages):
    if before:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as old:
            old.executescript(f"PRAGMA page_size={before}; PRAGMA journal_mode=WAL; CREATE TABLE theirs (x)")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.absorb(rows(60))
    assert stored(ledger) == rows(60)
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        assert connection.exec_driver_sql("PRAGMA page_size").scalar() == pages
