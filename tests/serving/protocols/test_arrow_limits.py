"""Arrow and Parquet bodies are large: how much one may be, how many at once, and what they leave for others."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from serving.answering import batch_routes
from serving.app import create_app
from serving.protocols.arrow import PARQUET, STREAM
from tests.serving.protocols.columns import PATH, ask, body, read, refused, table
from treadle.keys import Role, create_key


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
