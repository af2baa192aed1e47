"""Arrow and Parquet bodies: every type, what does not fit, hostile files, bounded memory; written and read by pyarrow."""

import contextlib
import datetime as dt
import io
import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from serving.answering import batch_routes
from serving.app import create_app
from serving.protocols.arrow import FILE, JSON, PARQUET, STREAM, ArrowWriter, answer_form
from treadle.keys import Role, create_key

PATH = "/v1/models/toy/predict"
ROWS = 5000


def table(rows=ROWS, **changes):
    when = pa.array([dt.datetime(2011, 1, 1, 5)] * rows, pa.timestamp("us"))
    columns = {
        "temp": pa.array(np.arange(rows, dtype=np.float64)),
        "holiday": pa.array([row % 2 == 0 for row in range(rows)]),
        "when": when,
        "season": pa.array(["summer", "winter", None, "never seen"] * (rows // 4) + ["summer"] * (rows % 4)),
    }
    return pa.table({name: values for name, values in (columns | changes).items() if values is not None})


def answers(rows=ROWS):
    warm = [10.0 if row % 4 == 0 else 0.0 for row in range(rows)]
    return [row + 100.0 * (row % 2 == 0) + warm[row] + 1000.0 for row in range(rows)]


def body(data, form=STREAM, **options):
    file = io.BytesIO()
    if form == PARQUET:
        pq.write_table(data, file, **options)
    else:
        make = pa.ipc.new_stream if form == STREAM else pa.ipc.new_file
        with make(file, data.schema) as writer:
            writer.write_table(data, **options)
    return file.getvalue()


def read(reply):
    assert reply.status_code == 200, reply.text
    if reply.headers["content-type"] == PARQUET:
        return pq.read_table(io.BytesIO(reply.content))
    assert reply.headers["content-type"] == STREAM
    return pa.ipc.open_stream(reply.content).read_all()


def ask(client, content, form=STREAM, accept=None, path=PATH):
    headers = {"content-type": form} | ({"accept": accept} if accept else {})
    return client.post(path, content=content, headers=headers)


def refused(reply, status, column=None, row=None):
    assert reply.status_code == status, reply.text[:200]
    assert reply.headers["content-type"] == "application/problem+json"
    said = reply.json()
    assert (said.get("column"), said.get("row")) == (column, row), said


@pytest.mark.parametrize("accept", [None, STREAM, PARQUET, JSON])
@pytest.mark.parametrize("form", [STREAM, FILE, PARQUET])
def test_every_form_in_and_out(client, form, accept):
    reply = ask(client, body(table(), form), form, accept)
    if accept == JSON:
        said = reply.json()
        assert said.keys() == {"model", "version", "digest", "predictions"}
        predictions = [row["prediction"] for row in said["predictions"]]
    else:
        said = read(reply)
        assert said.column_names == ["id", "prediction"]
        assert said.schema.metadata[b"model"] == b"toy"
        assert len(set(said["id"].to_pylist())) == ROWS
        predictions = said["prediction"].to_pylist()
    assert predictions == answers()
    assert reply.headers["x-model-version"] == "1"


def test_batches_of_any_size_are_answered_in_order(client):
    data = table()
    for size in (1700, 5000, 3):
        some = data.slice(0, 300) if size == 3 else data
        reply = read(ask(client, body(some, max_chunksize=size)))
        assert reply["prediction"].to_pylist() == answers()[: len(some)]


def test_classes_have_a_column_of_probabilities_each(make_home):
    home = make_home()
    home.register(classes=True)
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        said = read(ask(client, body(table(8, temp=pa.array(np.linspace(-120, 20, 8))))))
        assert said.column_names == ["id", "prediction", "probability_high", "probability_low"]
        shares = np.column_stack([said["probability_high"], said["probability_low"]])
        assert np.allclose(shares.sum(axis=1), 1)
        assert said["prediction"].to_pylist() == [("high", "low")[k] for k in shares.argmax(axis=1)]


TYPES = {
    "float16": ("temp", pa.array(np.arange(8, dtype=np.float16))),
    "float32": ("temp", pa.array(np.arange(8, dtype=np.float32))),
    "int8": ("temp", pa.array(range(8), pa.int8())),
    "uint64": ("temp", pa.array(range(8), pa.uint64())),
    "int64": ("temp", pa.array(range(8), pa.int64())),
    "truth as int": ("holiday", pa.array([1, 0] * 4, pa.int16())),
    "truth as text": ("holiday", pa.array(["yes", "no"] * 4)),
    "truth as dictionary": ("holiday", pa.array(["yes", "no"] * 4).dictionary_encode()),
    "seconds": ("when", pa.array([1293858000] * 8, pa.timestamp("s"))),
    "nanoseconds with a zone": ("when", pa.array([1293858000 * 10**9] * 8, pa.timestamp("ns", "Europe/Berlin"))),
    "milliseconds": ("when", pa.array([1293858000000] * 8, pa.timestamp("ms", "UTC"))),
    "date32": ("when", pa.array([dt.date(2011, 1, 1)] * 8, pa.date32())),
    "date64": ("when", pa.array([dt.date(2011, 1, 1)] * 8, pa.date64())),
    "time as text": ("when", pa.array(["2011-01-01T06:00:00+01:00"] * 8)),
    "large_string": ("season", pa.array(["summer", "winter", None, "x"] * 2, pa.large_string())),
    "string_view": ("season", pa.array(["summer", "winter", None, "x"] * 2, pa.string_view())),
    "dictionary": ("season", pa.array(["summer", "winter", None, "x"] * 2).dictionary_encode()),
    "dictionary of int8": (
        "season",
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2] * 2, pa.int8()), pa.array(["summer", "winter", "x"])),
    ),
}


@pytest.mark.parametrize(("column", "values"), TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_types(client, column, values, form):
    said = read(ask(client, body(table(8, **{column: values}), form), form))
    assert said["prediction"].to_pylist() == answers(8)


@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_what_is_not_known_is_null_as_in_json(trained_client, form):
    rows = [
        {"size": None, "serial": 1e12, "member": None, "plan": None, "when": None},
        {"size": 50.0, "serial": None, "member": True, "plan": "plus", "when": "2024-01-05T06:00:00"},
    ]
    data = pa.Table.from_pylist(
        [row | {"when": row["when"] and dt.datetime.fromisoformat(row["when"])} for row in rows]
    )
    path = "/v1/models/amount/predict"
    wanted = [row["prediction"] for row in trained_client.post(path, json={"rows": rows}).json()["predictions"]]
    nothing = data.set_column(3, "plan", pa.nulls(2)).set_column(4, "when", pa.nulls(2))
    emptied = [row | {"plan": None, "when": None} for row in rows]
    also = [row["prediction"] for row in trained_client.post(path, json={"rows": emptied}).json()["predictions"]]
    assert read(ask(trained_client, body(data, form), form, path=path))["prediction"].to_pylist() == wanted
    assert read(ask(trained_client, body(nothing, form), form, path=path))["prediction"].to_pylist() == also


def test_an_answer_that_is_not_finite_names_its_row(client):
    temp = np.arange(8.0)
    temp[3] = 1e300
    refused(ask(client, body(table(8, temp=pa.array(temp)))), 422, None, 3)


def test_the_ledger_has_the_rows(client, home):
    data = table(6, temp=pa.array([1.5, 2, 3, 4, 5, 6.0]))
    ids = read(ask(client, body(data)))["id"].to_pylist()
    stored = {row.id: row for row in home.ledger.window("toy", 100)}
    wait_until(lambda: stored.update({row.id: row for row in home.ledger.window("toy", 100)}) or len(stored) == 6)
    when = "2011-01-01T05:00:00+00:00"
    assert stored[ids[0]].features == {"temp": 1.5, "holiday": True, "when": when, "season": "summer"}
    assert stored[ids[2]].features == {"temp": 3.0, "holiday": True, "when": when, "season": None}


def wait_until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_own_ids_and_event_times(client, home):
    ids = [f"own-{row}" for row in range(ROWS)]
    at = pa.array([dt.datetime(2012, 1, 1) + dt.timedelta(hours=row) for row in range(ROWS)], pa.timestamp("us"))
    data = table().append_column("name", pa.array(ids)).append_column("seen", at)
    reply = ask(client, body(data), path=f"{PATH}?ids=name&at=seen")
    assert read(reply)["id"].to_pylist() == ids
    newest = home.ledger.window("toy", 1)[0]
    assert (newest.id, newest.at) == (ids[-1], at[-1].as_py().replace(tzinfo=dt.UTC))
    refused(ask(client, body(data), path=f"{PATH}?ids=name&at=seen"), 409)
    labels = {"labels": [{"id": name, "label": 3} for name in ids[:5]]}
    assert client.post("/v1/models/toy/feedback", json=labels).json()["accepted"] == 5


WRONG = {
    "column missing": ({"temp": None}, "temp", None),
    "text for a number": ({"temp": pa.array(["a"] * 8)}, "temp", None),
    "truth for a number": ({"temp": pa.array([True] * 8)}, "temp", None),
    "decimal": ({"temp": pa.array([1] * 8, pa.decimal128(5, 2))}, "temp", None),
    "list": ({"temp": pa.array([[1.0]] * 8)}, "temp", None),
    "infinity": ({"temp": pa.array([1.0, 2, 3, 4, np.inf, 6, 7, 8])}, "temp", 4),
    "two for true": ({"holiday": pa.array([1, 0, 2, 0, 0, 0, 0, 0])}, "holiday", 2),
    "a word for true": ({"holiday": pa.array(["yes"] * 7 + ["perhaps"])}, "holiday", 7),
    "number for a time": ({"when": pa.array([1] * 8)}, "when", None),
    "a word for a time": ({"when": pa.array(["soon"] * 8)}, "when", 0),
    "far time": ({"when": pa.array([2**52] * 8, pa.timestamp("s"))}, "when", 0),
    "number for a category": ({"season": pa.array([1] * 8)}, "season", None),
    "bytes for a category": ({"season": pa.array([b"x"] * 8)}, "season", None),
    "dictionary of numbers": ({"season": pa.array([1] * 8).dictionary_encode()}, "season", None),
    "long text": ({"season": pa.array(["x"] * 5 + ["x" * 10_001] * 3)}, "season", 5),
    "stranger": ({"tempo": pa.array([1] * 8)}, "tempo", None),
}


@pytest.mark.parametrize(("changes", "column", "row"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_what_does_not_fit_is_named(client, changes, column, row, form):
    refused(ask(client, body(table(8, **changes), form), form), 422, column, row)


def test_a_wrong_value_in_the_last_batch_is_told_before_anything_is_answered(client, home):
    temp = np.arange(ROWS, dtype=np.float64)
    temp[-1] = np.inf
    refused(ask(client, body(table(temp=pa.array(temp)))), 422, "temp", ROWS - 1)
    assert home.ledger.window("toy", 10) == []


def test_ids_and_times_that_do_not_fit(client):
    data = table(8)
    twice = data.append_column("name", pa.array(["a"] * 8))
    refused(ask(client, body(twice), path=f"{PATH}?ids=name"), 422, "name")
    refused(ask(client, body(data), path=f"{PATH}?ids=name"), 422, "name")
    refused(
        ask(client, body(data.append_column("name", pa.array([None, *"bcdefgh"]))), path=f"{PATH}?ids=name"),
        422,
        "name",
        0,
    )
    late = data.append_column("seen", pa.array([0] * 7 + [None], pa.timestamp("s")))
    refused(ask(client, body(late), path=f"{PATH}?at=seen"), 422, "seen", 7)


def test_frames_of_the_request(client):
    refused(ask(client, b""), 400)
    refused(ask(client, b"no arrow"), 400)
    refused(ask(client, body(table(8)), FILE), 400)
    refused(ask(client, body(table(8), PARQUET), STREAM), 400)
    refused(ask(client, body(table(0))), 422)
    refused(ask(client, body(table(8)), accept="text/html"), 406)
    refused(ask(client, body(table(8)), path="/v1/models/nobody/predict"), 404)


@pytest.mark.parametrize("form", [STREAM, FILE, PARQUET])
@pytest.mark.parametrize("more", [b"\0", b"and more", body(table(8))], ids=["a byte", "text", "another"])
def test_what_follows_the_end_is_refused(client, form, more):
    reply = ask(client, body(table(8), form) + more, form)
    refused(reply, 400)
    if form == STREAM:
        assert "Bytes follow the end" in reply.json()["detail"]


@pytest.mark.parametrize(
    "end", [b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0", b""], ids=["marked", "as before Arrow 0.15", "open"]
)
def test_a_stream_may_end_as_the_format_says(client, end):
    assert read(ask(client, body(table(8))[:-8] + end)).num_rows == 8


def test_limits_of_their_own(make_home):
    home = make_home(max_rows=2, max_stream_rows=5000, max_stream_bytes=200_000, max_body_bytes=2000)
    home.register()
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        assert read(ask(client, body(table(5000), PARQUET), PARQUET)).num_rows == 5000
        refused(ask(client, body(table(5004), PARQUET), PARQUET), 413)
        refused(ask(client, body(table(20_000))), 413)


def long_texts(rows):
    """A season of 10,000 characters in each row, in a body of a few kilobytes."""
    content = body(table(rows, season=pa.DictionaryArray.from_arrays([0] * rows, ["s" * 10_000])), PARQUET)
    assert len(content) < 30_000
    return content


def test_few_bytes_that_are_much_text_are_refused(make_home):
    """Else some kilobytes of Parquet would be gigabytes in the ledger."""
    home = make_home(max_stream_bytes=1_000_000)
    home.register()
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        assert read(ask(client, long_texts(100), PARQUET)).num_rows == 100
        refused(ask(client, long_texts(101), PARQUET), 413)


def test_long_texts_make_small_batches(client):
    reply = ask(client, long_texts(1000), PARQUET, STREAM)
    batches = list(pa.ipc.open_stream(reply.content))
    assert [batch.num_rows for batch in batches] == [250] * 4
    wanted = [row + 100.0 * (row % 2 == 0) + 1000.0 for row in range(1000)]
    assert read(reply)["prediction"].to_pylist() == wanted


def test_without_the_extra_it_says_what_to_install(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "arro3", None)
    reply = ask(client, body(table(8)))
    refused(reply, 415)
    assert "pip install '.[arrow]'" in reply.json()["detail"]


def test_the_accepted_form():
    assert answer_form("", FILE) == STREAM
    assert answer_form("*/*", PARQUET) == PARQUET
    assert answer_form(f"text/html, {PARQUET};q=0.5, {JSON}", STREAM) == PARQUET


def test_hostile_files_are_refused_and_hurt_nobody(client):
    """Bytes flipped and files cut at random; arro3 aborts or panics at a good part of them, in its own process."""
    rng = random.Random(5)
    assert ask(client, body(table(8))).status_code == 200
    files, children = psutil.Process().num_fds(), psutil.Process().children()
    for form in (STREAM, FILE, PARQUET):
        whole = body(table(64), form)
        for _ in range(12):
            content = bytearray(whole)
            for _ in range(rng.choice((1, 4, 32))):
                content[rng.randrange(len(content))] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
            if rng.random() < 0.3:
                del content[rng.randrange(len(content)) :]
            reply = ask(client, bytes(content), form)
            assert reply.status_code in (200, 400, 413, 422), reply.text
    assert ask(client, body(table(8))).status_code == 200
    assert psutil.Process().num_fds() <= files + 12  # the client's own may come and go; a leak would be one a file, 36
    assert psutil.Process().children() == children


def test_the_writer_makes_one_stream(home):
    from serving.models.champions import Champions
    from serving.protocols.protocol import Answered, Asked

    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    model = champions.get("toy")
    writer = ArrowWriter(model)
    parts = [
        writer.batch(Answered(model, np.array(values, np.float32), ids, Asked({}, len(ids))))
        for values, ids in (([1.5], ["a"]), ([2.5, 3.5], ["b", "c"]))
    ]
    said = pa.ipc.open_stream(b"".join(parts) + writer.end()).read_all()
    assert said.to_pydict() == {"id": ["a", "b", "c"], "prediction": [1.5, 2.5, 3.5]}


def test_all_rows_of_a_body_count_against_the_key_before_any_is_answered(home):
    _, secret = create_key(home.ledger, "few", Role.CALLER, "ann", rows_per_minute=6000)
    headers = {"content-type": STREAM, "x-api-key": secret}
    with TestClient(create_app(home.settings)) as client:
        assert read(client.post(PATH, content=body(table(5000)), headers=headers)).num_rows == 5000
        refused(client.post(PATH, content=body(table(5000)), headers=headers), 429)
        refused(client.post(PATH, content=body(table(6004)), headers=headers), 413)


@pytest.mark.e2e
def test_slow_callers_keep_nobody_out(home, serve):
    whole, host = body(table(8)), "Host: 127.0.0.1\r\n"
    head = f"POST {PATH} HTTP/1.1\r\n{host}Content-Type: {STREAM}\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    with serve(home.settings) as (_, address), contextlib.ExitStack() as slow:
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
            slow.enter_context(connection).sendall(head + whole[:100])
        time.sleep(0.3)
        for _ in range(3):
            reply = httpx.post(f"{address}{PATH}", content=whole, headers={"content-type": STREAM})
            assert read(reply).num_rows == 8


def test_bodies_that_fill_the_disk_are_refused_and_forgotten(make_home, monkeypatch):
    home = make_home()
    home.register()
    home.promote()
    monkeypatch.setattr(batch_routes, "MOST_ON_DISK", 0)
    with TestClient(create_app(home.settings)) as client:
        refused(reply := ask(client, body(table(8))), 503)
        assert reply.headers["retry-after"]
        assert "treadle_refused_total 1.0" in client.get("/metrics").text
        monkeypatch.undo()
        for _ in range(3):
            assert read(ask(client, body(table(8)))).num_rows == 8


@pytest.mark.e2e
def test_as_many_callers_as_there_are_places_are_never_refused(home, serve):
    whole = body(table(8))

    def ask_again_and_again(address):
        with httpx.Client(timeout=60) as client:
            replies = [client.post(address, content=whole, headers={"content-type": STREAM}) for _ in range(5)]
        return [reply.status_code for reply in replies]

    with serve(home.settings) as (_, address), ThreadPoolExecutor(batch_routes.AT_ONCE) as callers:
        statuses = list(callers.map(ask_again_and_again, [f"{address}{PATH}"] * batch_routes.AT_ONCE))
    assert statuses == [[200] * 5] * batch_routes.AT_ONCE
