"""What was appended to a journal comes into the ledger once, whatever dies in between."""

import errno
import json
import resource
import sqlite3
import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import Unavailable
from treadle.ledger import Drain, Entry, Exchange, Journal, Ledger, on_their_way, segment
from treadle.ledger.journal import entries, read_frames


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def entry(name: str, model: str = "toy") -> Entry:
    return Entry(name, model, 1, 1_700_000_000_000_000, 1_700_000_000_000_001, '{"x":1}', '{"prediction":2.5}')


def ids(ledger: Ledger) -> list[str]:
    with ledger.engine.connect() as connection:
        return [name for (name,) in connection.exec_driver_sql("SELECT id FROM predictions ORDER BY rowid")]


def test_what_is_appended_is_carried_in_order_and_once(folder, ledger):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    journal.append([entry("a"), entry("b")])
    assert drain.once() == 2
    journal.append([entry("c")])
    assert drain.once() == 1
    assert drain.once() == 0
    assert ids(ledger) == ["a", "b", "c"]
    assert Drain(folder, lambda: ledger).once() == 3  # another holder begins anew: nothing comes twice
    assert ids(ledger) == ["a", "b", "c"]
    journal.close()
    drain.once()
    assert list(folder.glob("*.journal")) == []


def test_what_is_on_its_way_is_known_by_model(folder, ledger):
    journal = Journal(folder)
    assert on_their_way(folder, "toy", {"a"}) == set()
    journal.append([entry("a"), entry("b"), entry("c", model="other")])
    assert on_their_way(folder, "toy", {"a", "c", "z"}) == {"a"}


def test_an_exchange_is_taken_apart_into_its_rows(folder, ledger):
    request = b'{"rows": [{"x": 1, "y": "a b"}, {"x": 2.50, "y": null}]}'
    response = b'{"model":"toy","predictions":[{"id":"p","prediction":1.5},{"id":"q","prediction":2}]}'
    journal = Journal(folder)
    journal.append([Exchange("toy", 3, 1_700_000_000_000_000, request, response)])
    Drain(folder, lambda: ledger).once()
    first, second = sorted(ledger.window("toy", 10), key=lambda row: row.id)
    assert (first.id, first.version, first.features, first.answer) == (
        "p",
        3,
        {"x": 1, "y": "a b"},
        {"prediction": 1.5},
    )
    assert (second.features, second.answer) == ({"x": 2.5, "y": None}, {"prediction": 2})


TEXTS = st.text(max_size=12) | st.sampled_from(["}", "{", '"}]}', '{"id":"', ' ],"rows":[{', "\\", "é ✓"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXTS, PLAIN, max_size=2)


@given(
    st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), min_size=1, max_size=3),
    st.dictionaries(TEXTS, st.floats(0, 1), max_size=3),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from([{}, {"ids": None}, {"at": None}]),
)
def test_whatever_stands_in_an_exchange_its_rows_are_found(rows, chances, indent, ascii_only, beside):
    answers = [{"id": f"{row:032x}", "prediction": "{}", "probabilities": chances} for row in range(len(rows))]
    for body in ({"rows": rows, **beside}, {**beside, "rows": rows}):
        request = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
        response = msgspec.json.encode({"model": "toy", "version": 3, "digest": "ab", "predictions": answers})
        own = entry("of-ones-own")
        frame = msgspec.msgpack.encode([Exchange("toy", 3, 17, request, response), own])
        found = [Entry(*row) for row in entries(msgspec.msgpack.decode(frame))]
        assert found.pop() == own
        assert [row.id for row in found] == [answer["id"] for answer in answers]
        assert [json.loads(row.features) for row in found] == rows
        assert all(row.features in request.decode() for row in found)  # as it came, to the space
        assert [{"id": row.id, **json.loads(row.answer)} for row in found] == answers
        assert {(row.model, row.version, row.at_us, row.arrived_us) for row in found} == {("toy", 3, 17, 17)}


def test_a_journal_is_what_it_always_was(folder, ledger):
    """Frames of plain msgpack arrays: a journal that waits on a disk is carried by the next version."""
    request, response = b'{"rows": [{"x": 1}]}', b'{"model":"toy","predictions":[{"id":"p","prediction":1.5}]}'
    journal = Journal(folder)
    journal.append([Exchange("toy", 3, 17, request, response), entry("a")])
    journal.close()
    (path,) = folder.glob("*.journal")
    content = msgspec.msgpack.encode([["toy", 3, 17, request, response], list(entry("a"))])
    frame = struct.pack("<II", len(content), zlib.crc32(content)) + content
    assert path.read_bytes() == frame.ljust(segment.SEGMENT_BYTES, b"\0")
    path.write_bytes(frame)  # as it was before there were segments
    Drain(folder, lambda: ledger).once()
    assert list(folder.iterdir()) == []
    with ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM predictions ORDER BY rowid").all()
    assert rows == [("p", "toy", 3, 17, 17, '{"x": 1}', '{"prediction":1.5}'), tuple(entry("a"))]


@pytest.mark.parametrize("tail", [b"", bytes(700)])
def test_a_frame_that_was_cut_off_is_left_out_and_hides_nothing(folder, ledger, caplog, tail):
    journal = Journal(folder)
    for name in "ab":
        journal.append([entry(name)])
    journal.close()
    (path,) = folder.glob("*.journal")
    content = path.read_bytes()
    whole, end = (end for end, _ in read_frames(content))
    for size in range(whole, end):
        path.write_bytes(content[:size] + tail)
        assert [end for end, _ in read_frames(path.read_bytes())] == [whole]
    assert Drain(folder, lambda: ledger).once() == 1
    assert ids(ledger) == ["a"]
    assert list(folder.iterdir()) == []
    assert "never acknowledged" in caplog.text


@pytest.mark.parametrize("rows", [1, 4000])
def test_a_full_disk_refuses_and_leaves_the_journal_readable(folder, ledger, rows):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    journal.append([entry("a")])

    def fill():
        for number in range(20_000 // rows):
            journal.append([entry(f"{number}-{row}") for row in range(rows)])

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.SEGMENT_BYTES // 10, hard))
    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.suffix for path in folder.iterdir()] == [".journal"]
    journal.append([entry("c")])
    drain.once()
    found = ids(ledger)
    assert (found[0], found[-1]) == ("a", "c")
    assert found[1:-1] == [f"{number}-0" for number in range(len(found) - 2)]
    assert (len(found) > 1_000) == (rows == 1)  # there was room for small ones until a new segment was needed


def test_a_locked_ledger_keeps_the_journal_until_it_opens(folder, ledger, tmp_path):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    journal.append([entry("a")])
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable):
        drain.once()
    holder.execute("ROLLBACK")
    assert drain.once() == 1
    assert ids(ledger) == ["a"]


def test_a_row_that_the_ledger_refuses_holds_up_no_other(folder, ledger):
    journal = Journal(folder)
    nameless = Entry(None, "toy", 1, 1, 1, "{}", "{}")._replace(model=None)
    journal.append([entry("a"), nameless, entry("b")])
    journal.close()
    Drain(folder, lambda: ledger).once()
    assert {"a", "b"} <= set(ids(ledger))
    assert list(folder.glob("*.journal")) == []


def test_only_one_holder_carries_a_folder(folder, ledger):
    journal = Journal(folder)
    first, second = Drain(folder, lambda: ledger), Drain(folder, lambda: ledger)
    assert first.hold()
    assert not second.hold()
    journal.append([entry("a")])
    first.start()
    first.stop()
    assert ids(ledger) == ["a"]
    assert second.hold()


def test_a_journal_that_rests_is_carried_and_gone(folder, ledger):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    journal.append([entry("a")])
    journal.rest(3600)
    drain.once()
    assert len(list(folder.glob("*.journal"))) == 1
    journal.rest(0)
    drain.once()
    assert list(folder.glob("*.journal")) == []
    journal.append([entry("b")])
    drain.once()
    assert ids(ledger) == ["a", "b"]


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 4096)


def test_a_segment_that_was_carried_is_clean_and_used_again(folder, ledger, small_segments):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    names = [f"{number:03}" for number in range(400)]
    files = set()
    for name in names:
        journal.append([entry(name)])
        if name.endswith("9"):
            drain.once()
            spares = [path for path in folder.iterdir() if path.suffix == ".spare"]
            assert all(path.read_bytes() == bytes(4096) for path in spares)
            files |= {path.stat().st_ino for path in folder.iterdir() if path.suffix != ".lock"}
    assert ids(ledger) == names
    assert len(files) == 2  # one is written while the other is carried
    journal.close()
    drain.once()
    assert {path.suffix for path in folder.iterdir()} == {".spare"}
    segment.remove_spares(segment.look(folder).spares, after_s=-1)
    assert list(folder.iterdir()) == []


def test_while_nobody_carries_the_journal_grows_and_keeps_all(folder, ledger, small_segments):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    names = [f"{number:03}" for number in range(600)]
    for name in names:
        journal.append([entry(name)])
    assert len(list(folder.glob("*.journal"))) > 5
    assert drain.once() == 600
    assert len(list(folder.glob("*.journal"))) == 1
    for name in names:
        journal.append([entry(f"again {name}")])
        drain.once()
    assert ids(ledger) == names + [f"again {name}" for name in names]


def test_a_spare_that_was_removed_is_missed_by_nobody(folder, ledger, small_segments):
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    for number in range(200):
        journal.append([entry(f"{number:03}")])
        drain.once()
        segment.remove_spares(segment.look(folder).spares, after_s=-1)
    assert len(ids(ledger)) == 200
    assert len(list(folder.iterdir())) == 1


@pytest.fixture(params=["mapped", "written"])
def way(request, monkeypatch):
    if request.param == "written":

        def none(*_):
            raise OSError(errno.ENODEV, "No such device")

        monkeypatch.setattr(segment.mmap, "mmap", none)


@pytest.mark.parametrize("durable", [False, True])
def test_writing_and_carrying_at_once_lose_nothing(folder, ledger, small_segments, way, durable):
    journal, drain = Journal(folder, durable=durable), Drain(folder, lambda: ledger)
    drain.start()
    names = [f"{number:05}" for number in range(400 if durable else 4_000)]
    for begin in range(0, len(names), 4):
        journal.append([entry(name) for name in names[begin : begin + 4]])
    journal.close()
    drain.stop()
    assert ids(ledger) == names
    assert [path.name for path in folder.iterdir() if path.name not in {"lock", "carried"}] == []


def test_a_large_frame_has_a_file_of_its_own(folder, ledger, monkeypatch):
    monkeypatch.setattr("treadle.ledger.journal.LARGE_BYTES", 1_000)
    journal, drain = Journal(folder, durable=True), Drain(folder, lambda: ledger)
    journal.append([entry("small")])
    journal.append([entry(f"large {row:02}") for row in range(40)])
    small, large = sorted(path.stat().st_size for path in folder.iterdir())[::-1]
    assert (small, 1_000 < large < 8_000) == (segment.SEGMENT_BYTES, True)
    drain.once()
    assert ids(ledger) == ["small", *(f"large {row:02}" for row in range(40))]
    assert [path.stat().st_size for path in folder.iterdir()] == [segment.SEGMENT_BYTES]


@pytest.mark.parametrize("gone", [True, False])
def test_a_journal_is_read_in_portions_and_a_frame_may_be_longer_than_one(folder, ledger, monkeypatch, gone):
    monkeypatch.setattr("treadle.ledger.drain.PORTION", 150)
    journal, drain = Journal(folder), Drain(folder, lambda: ledger)
    sizes = [1, 1, 9, 1, 2]
    names = [[f"{frame}-{row}" for row in range(size)] for frame, size in enumerate(sizes)]
    for frame in names:
        journal.append([entry(name) for name in frame])
    if gone:
        journal.close()
    assert drain.once() == sum(sizes)
    assert ids(ledger) == [name for frame in names for name in frame]
    assert len(list(folder.glob("*.journal"))) == (0 if gone else 1)
    if not gone:
        journal.append([entry("last")])
        assert drain.once() == 1


@given(st.binary(max_size=300), st.integers(0, 3))
def test_bytes_of_any_kind_are_read_without_an_error(noise, frames):
    content = msgspec.msgpack.encode([entry("a")])
    whole = struct.pack("<II", len(content), zlib.crc32(content)) + content
    found = list(read_frames(whole * frames + noise))
    assert len(found) >= frames
