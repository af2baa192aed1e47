"""Requests that are refused before their bodies are there, over real sockets: the answer arrives, the connection goes on."""

import json
import socket
import time
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import pytest

from serving.app import create_app
from serving.door.http import Connection, Deadlines, _end_the_longest_waiting, sweep
from serving.door.limits import SMALL_BYTES
from tests.serving.conftest import ROW
from tests.serving.sockets import post, reply, running, served

pytestmark = pytest.mark.e2e
BODY = json.dumps({"rows": [ROW] * 400}).encode()
LARGE = b" " * 16_000_000
"""More than two sockets hold, so that a caller who sends it learns whether it is read."""


@contextmanager
def overloaded(home):
    """A service that has too much to do, and a connection to it."""
    assert len(BODY) > SMALL_BYTES
    with served(home) as (app, address), socket.create_connection(address, timeout=30) as caller:
        app.state.parts.admission._most_requests = 0
        yield app, caller, caller.makefile("rb")


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks."""
    parts = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def is_refused(said) -> bool:
    """Whether an answer is a refusal that says when to come back."""
    status, headers, _ = said
    return status == 503 and headers["retry-after"] == "1"


def answers(app, caller, reader) -> bool:
    """Whether the connection goes on: with less to do, the next request on it is answered whole."""
    app.state.parts.admission._most_requests = 256
    caller.sendall(post(BODY) + BODY)
    status, _, said = reply(reader)
    return status == 200 and len(json.loads(said)["predictions"]) == 400


def test_a_refused_body_in_one_piece(home):
    with overloaded(home) as (app, caller, reader):
        caller.sendall(post(BODY) + BODY)
        assert is_refused(reply(reader))
        assert answers(app, caller, reader)


def test_a_refused_body_in_many_pieces(home):
    with overloaded(home) as (app, caller, reader):
        head = post(BODY)
        for piece in (head[:20], head[20:], *(BODY[k : k + 3000] for k in range(0, len(BODY), 3000))):
            caller.sendall(piece)
            time.sleep(0.005)
        assert is_refused(reply(reader))
        assert answers(app, caller, reader)


def test_a_refused_body_in_chunks(home):
    with overloaded(home) as (app, caller, reader):
        caller.sendall(post(BODY, "transfer-encoding: chunked") + chunked(BODY))
        assert is_refused(reply(reader))
        assert answers(app, caller, reader)


def test_who_asks_before_sending_is_refused_without_being_told_to_go_on(home):
    with overloaded(home) as (app, caller, reader):
        caller.sendall(post(BODY, "expect: 100-continue"))
        assert is_refused(reply(reader))  # the first that is said, and not a 100
        caller.sendall(BODY)  # who was told no may still send, since the length was declared
        assert answers(app, caller, reader)


@pytest.mark.parametrize("pieces", [1, 40])
def test_requests_behind_a_refused_body_are_refused_in_order(home, pieces):
    with overloaded(home) as (app, caller, reader):
        said = (post(BODY) + BODY) * 3
        size = len(said) // pieces + 1
        for k in range(0, len(said), size):
            caller.sendall(said[k : k + size])
        assert all(is_refused(reply(reader)) for _ in range(3))
        assert answers(app, caller, reader)


@pytest.mark.parametrize("headers", [(), ("connection: close",), ("transfer-encoding: chunked",)])
def test_who_leaves_in_the_middle_of_a_refused_body_leaves_nothing_behind(home, headers, caplog):
    with overloaded(home) as (app, caller, reader):
        for _ in range(5):
            with socket.create_connection(caller.getpeername(), timeout=30) as leaving:
                body = chunked(BODY)[:9000] if "transfer-encoding: chunked" in headers else BODY[:9000]
                leaving.sendall(post(BODY, *headers) + body)
                assert is_refused(reply(leaving.makefile("rb")))
        assert app.state.parts.admission.received == 0
        assert app.state.parts.admission.requests == 0
        assert answers(app, caller, reader)
    assert [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_who_closes_after_a_large_body_reads_the_refusal_and_no_reset(home, framing):
    with overloaded(home) as (_, caller, reader):
        if framing == "chunked":
            head, body = post(LARGE, "connection: close", "transfer-encoding: chunked"), chunked(LARGE, 1_000_000)
        else:
            head, body = post(LARGE, "connection: close"), LARGE
        caller.sendall(head + body)  # closed at once, it would be reset while it sends
        status, headers, _ = reply(reader)
        assert (status, headers["connection"]) == (503, "close")
        assert reader.read() == b""  # and the service has said that there is no more


def test_nothing_behind_a_last_answer_is_answered(home):
    with overloaded(home) as (_, caller, reader):
        caller.sendall(post(LARGE, "connection: close") + LARGE + post(BODY) + BODY)
        assert reply(reader)[0] == 503
        assert reader.read() == b""


def test_what_the_guard_refuses_before_its_body_is_there_is_read_too(home):
    with overloaded(home) as (_, caller, reader):
        head = post(LARGE, "connection: close").replace(b"host: 127.0.0.1", b"host: elsewhere")
        caller.sendall(head + LARGE)
        status, headers, _ = reply(reader)
        assert (status, headers["connection"]) == (400, "close")


def test_who_does_not_stop_sending_after_its_last_answer_is_cut_off(home, monkeypatch):
    monkeypatch.setattr("serving.door.farewell.MOST_BYTES", 1_000_000)
    with overloaded(home) as (_, caller, reader):
        caller.sendall(post(LARGE, "connection: close"))
        assert reply(reader)[0] == 503
        with pytest.raises(ConnectionError):
            caller.sendall(LARGE)


def test_who_neither_sends_nor_closes_after_its_last_answer_is_ended_at_a_deadline():
    class Parted(Connection):
        def __init__(self):
            self._deadlines = Deadlines(parting_s=2.0)
            self._parting_since = 100.0
            self.ended = False

        def end(self):
            self.ended = True

    parted = Parted()
    assert (sweep({parted}, 101.9), parted.ended) == (0, False)
    assert (sweep({parted}, 102.1), parted.ended) == (1, True)


def test_a_refused_body_is_counted_once(home):
    with overloaded(home) as (_, caller, reader):
        caller.sendall(post(BODY) + BODY)
        reply(reader)
        said = httpx.get("http://{}:{}/metrics".format(*caller.getpeername())).text
        assert "treadle_refused_total 1.0" in said


def test_each_newcomer_above_the_limit_ends_another_one():
    """All that come in one turn of the loop; one that was ended stays in the set until the next."""

    class Waiting(Connection):
        def __init__(self, since):
            self._deadlines, self._arriving_since = Deadlines(), since
            self._parting_since = self._unread_since = None
            self._headers_arrived = False
            self.transport = self
            self.ended = False

        def is_closing(self):
            return self.ended

        def end(self):
            self.ended = True

    waiting = [Waiting(since) for since in (1.0, 2.0, 3.0)]
    for _ in range(2):
        _end_the_longest_waiting(set(waiting), 10.0)
    assert [one.ended for one in waiting] == [True, True, False]


@contextmanager
def ended(home, eventually, monkeypatch, ending_s):
    """A connection on which nothing was said yet, to a service whose end has begun and whose port is closed."""
    monkeypatch.setattr("serving.app.Deadlines", partial(Deadlines, ending_s=ending_s))
    app = create_app(home.settings, drains=False)
    with running(app) as (server, address), socket.create_connection(address, timeout=30) as caller:
        eventually(lambda: server.server_state.connections)
        app.state.parts.admission.draining = server.should_exit = True
        eventually(lambda: not answers_at(address))
        yield caller


def answers_at(address) -> bool:
    """Whether somebody listens there."""
    with suppress(ConnectionError), socket.create_connection(address, timeout=30):
        return True
    return False


@pytest.mark.parametrize("rows", [1, 400])
def test_who_connected_just_before_the_end_is_answered(home, eventually, monkeypatch, rows):
    body = json.dumps({"rows": [ROW] * rows}).encode()
    with ended(home, eventually, monkeypatch, 20.0) as caller, caller.makefile("rb") as reader:
        caller.sendall(post(body) + body)
        status, headers, said = reply(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert len(json.loads(said)["predictions"]) == rows
        assert reader.read() == b""


def test_who_connected_and_says_nothing_does_not_hold_up_the_end(home, eventually, monkeypatch):
    with ended(home, eventually, monkeypatch, 0.5) as caller:
        assert caller.recv(1) == b""
