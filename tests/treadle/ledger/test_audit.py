"""Nobody changes the audit unseen: every way to tamper with it is found, and said where."""

import multiprocessing
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from treadle.errors import Conflict, NotFound
from treadle.ledger import Ledger, Version
from treadle.ledger.audit import keep_anchor, last, record, verify

COLUMNS = [
    "seq",
    "at_us",
    "key_id",
    "who",
    "what",
    "subject",
    "outcome",
    "times",
    "before",
    "after",
    "prev_hash",
    "hash",
]


@pytest.fixture
def audited(ledger, tmp_path):
    """A ledger with nine audited rows and an anchor."""
    ledger.anchor = tmp_path / "state" / "audit.head"
    for n in range(9):
        ledger.record_audit("ann", "turn", f"thing {n}", n, n + 1)
    return ledger


def tamper(ledger, *statements):
    """Change rows behind Treadle's back, which needs the triggers out of the way."""
    with ledger.engine.begin() as connection:
        if ledger.engine.dialect.name == "sqlite":
            for what in ("UPDATE", "DELETE"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS audit_keeps_{what}"))
        else:
            connection.execute(text("DROP TRIGGER IF EXISTS audit_keeps ON audit"))
        for statement in statements:
            connection.execute(text(statement))


def trouble(ledger):
    return verify(ledger.engine, ledger.anchor).trouble


def test_an_untouched_audit_is_whole(audited):
    found = verify(audited.engine, audited.anchor)
    assert (found.rows, found.trouble) == (9, None)
    rows = last(audited.engine, 3)
    assert [(row.seq, row.subject, row.before, row.after) for row in rows] == [
        (7, "thing 6", 6, 7), (8, "thing 7", 7, 8), (9, "thing 8", 8, 9),
    ]  # fmt: skip


def test_an_empty_audit_is_whole(ledger):
    assert verify(ledger.engine).trouble is None


@pytest.mark.parametrize("place", [1, 5, 9])
@pytest.mark.parametrize(
    "change",
    ["who = 'bob'", "what = 'x'", "subject = 'y'", "at_us = at_us + 1", "key_id = 'k'", "outcome = 'denied'",
     "times = 2", "\"before\" = '7'", "\"after\" = NULL", "hash = 'x' || substr(hash, 2)",
     "prev_hash = 'x' || substr(hash, 2)"],
)  # fmt: skip
def test_a_changed_value_is_found(audited, change, place):
    tamper(audited, f"UPDATE audit SET {change} WHERE seq = {place}")
    said = trouble(audited)
    assert said is not None
    assert f"Row {place}" in said or f"Row {place + 1}" in said


@pytest.mark.parametrize("place", range(1, 10))
def test_a_deleted_row_is_found(audited, place):
    tamper(audited, f"DELETE FROM audit WHERE seq = {place}")
    assert f"Row {place} is missing" in trouble(audited)


def test_a_deleted_row_is_found_after_the_others_moved_up(audited):
    tamper(audited, "DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = seq - 1 WHERE seq > 4")
    assert "Row 4" in trouble(audited)


def test_rows_that_changed_places_are_found(audited):
    swap = [f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((3, 100), (6, 3), (100, 6))]
    tamper(audited, *swap)
    assert "Row 3" in trouble(audited)


@pytest.mark.parametrize("place", [-1, 0, 10, 1000])
def test_a_row_that_was_put_in_is_found(audited, place):
    names = ", ".join(f'"{name}"' for name in COLUMNS[1:])
    tamper(audited, f"INSERT INTO audit (seq, {names}) SELECT {place}, {names} FROM audit WHERE seq = 9")
    assert trouble(audited) is not None


def cut(ledger, keep):
    """Truncate, and mend the head as somebody would who knows how it works."""
    new = f"SELECT hash FROM audit WHERE seq = {keep}" if keep else "SELECT ''"
    tamper(
        ledger,
        f"DELETE FROM audit WHERE seq > {keep}",
        f"UPDATE audit_head SET length = {keep}, hash = ({new})",
    )


def test_a_cut_tail_is_found_by_the_head(audited):
    tamper(audited, "DELETE FROM audit WHERE seq > 6")
    assert "Row 7 is missing" in trouble(audited)


@pytest.mark.parametrize("keep", [0, 1, 6, 8])
def test_a_cut_tail_with_a_mended_head_is_found_by_the_anchor(audited, keep):
    cut(audited, keep)
    assert f"Row {keep + 1} is missing" in trouble(audited)


def test_a_chain_written_anew_is_found_by_the_anchor_and_the_anchor_stays(audited):
    before = audited.anchor.read_text()
    cut(audited, 5)
    for n in range(7):
        audited.record_audit("bob", "turn", f"other {n}")
    assert "Row 9 is not the one that the anchor names" in trouble(audited)
    assert audited.anchor.read_text() == before
    assert not keep_anchor(audited.engine, audited.anchor)


@pytest.mark.parametrize("content", ["", "no number", "9", "9 ", "\x00\xff", "-1 x"])
def test_a_broken_anchor_is_found(audited, content):
    audited.anchor.write_text(content, encoding="latin-1")
    assert trouble(audited) is not None


@pytest.mark.parametrize("statement", ["DELETE FROM audit_head", "INSERT INTO audit_head VALUES (2, 9, 'x')"])
def test_a_head_that_is_gone_or_doubled_is_found(audited, statement):
    tamper(audited, statement)
    assert trouble(audited) is not None


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'bob' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"])
def test_the_database_itself_refuses_changes(audited, statement):
    with pytest.raises(DBAPIError, match="append-only"), audited.engine.begin() as connection:
        connection.execute(text(statement))
    assert trouble(audited) is None


def test_a_change_that_is_rolled_back_leaves_no_row(audited):
    def fail():
        with audited.change() as connection:
            record(connection, "ann", "turn", "thing")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    audited.record_audit("ann", "turn", "after it")
    found = verify(audited.engine, audited.anchor)
    assert (found.rows, found.trouble) == (10, None)


def test_what_changes_versions_is_in_the_audit_and_what_was_refused_is_not(ledger):
    for number in (1, 2, 3):
        ledger.add_version(Version("m", number, "run", f"b/{number}", "d" * 64, "linear", {}, {}, None))
    ledger.promote("m", 1, None, reason="first", who="ann")
    ledger.promote("m", 2, 1, reason="better")
    with pytest.raises(Conflict):
        ledger.promote("m", 3, 1, reason="too late", who="bob")
    ledger.rollback("m", who="ann")
    with pytest.raises(NotFound):
        ledger.rollback("other", who="bob")
    with pytest.raises(Conflict):
        ledger.remove_version("m", 1, "bob")
    ledger.remove_version("m", 3, "ann")
    ledger.forget("m", "ann")
    rows = last(ledger.engine, 10)
    assert [(row.who, row.what, row.subject, row.before, row.after) for row in rows] == [
        ("ann", "promote", "m", None, 1), ("flow", "promote", "m", 1, 2), ("ann", "rollback", "m", 2, 1),
        ("ann", "delete version", "m", 3, None), ("ann", "reset", "m", 2, 0),
    ]  # fmt: skip
    assert {row.outcome for row in rows} == {"allowed"}
    assert verify(ledger.engine).trouble is None


def test_words_of_strangers_are_cut_and_printable(ledger):
    ledger.record_audit("eve\x1b[2J\x00\ud800" + "e" * 500, "turn", "s" * 500, "\x00\ud800", {"a": float("nan")})
    (row,) = last(ledger.engine, 1)
    assert row.who.isprintable()
    assert (len(row.who), len(row.subject)) == (128, 128)
    assert verify(ledger.engine).trouble is None


def _append(url, who, count):
    ledger = Ledger.open(url)
    for n in range(count):
        ledger.record_audit(who, "turn", str(n))


def test_writers_at_once_make_one_chain(ledger):
    """Four threads here and two processes, 25 rows each; none is lost, none breaks the chain."""
    url = ledger.engine.url.render_as_string(hide_password=False)
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_append, args=(url, f"process {n}", 25)) for n in range(2)]
    workers += [
        threading.Thread(target=lambda n=n: [ledger.record_audit(f"thread {n}", "turn", str(i)) for i in range(25)])
        for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    found = verify(ledger.engine)
    assert (found.rows, found.trouble) == (150, None)
    rows = last(ledger.engine, 200)
    for who in {row.who for row in rows}:
        assert [row.subject for row in rows if row.who == who] == [str(n) for n in range(25)]


def test_an_audit_from_before_the_chain_becomes_its_beginning(tmp_path):
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    import treadle.ledger.database as database

    url = f"sqlite:///{tmp_path / 'old.db'}"
    config = Config()
    config.set_main_option("script_location", str(database.Path(database.__file__).parent / "migrations"))
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for n in (3, 4, 7):
            connection.execute(
                text("INSERT INTO audit VALUES (:n, :n, 'ann', 'promote', 'bikes', '1', NULL)"), {"n": n}
            )
    ledger = Ledger.open(url)
    ledger.record_audit("ann", "rollback", "bikes")
    assert verify(ledger.engine).trouble is None
    assert [(row.seq, row.what, row.before) for row in last(ledger.engine, 9)] == [
        (1, "promote", 1), (2, "promote", 1), (3, "promote", 1), (4, "rollback", None),
    ]  # fmt: skip
