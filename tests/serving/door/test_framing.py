"""Broken and endless HTTP over real sockets: what it costs, and that offers of other protocols are passed over."""

import json
import socket
import time
from contextlib import suppress

import pytest

from treadle.keys import Role, create_key

pytestmark = pytest.mark.e2e
ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
BODY = json.dumps({"rows": [ROW]}).encode()
HEAD = b"POST /v1/models/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
SIZE = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture
def address(home, serve):
    with serve(home.settings) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def statuses(address, *parts, count=1, pause_s=0.0):
    """The statuses of so many answers to what is sent."""
    with socket.create_connection(address, timeout=20) as caller:
        for part in parts:
            caller.sendall(part)
            time.sleep(pause_s)
        got = b""
        while got.count(b"HTTP/1.1 ") < count or not got.endswith((b"}", b"]")):
            more = caller.recv(65536)
            if not more:
                break
            got += more
    return [int(answer[:3]) for answer in got.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("body", [SIZE + BODY, CHUNKED + CHUNKS], ids=["length", "chunks"])
def test_an_offer_of_another_protocol_is_passed_over(address, body):
    """`curl --http2` and Java's clients send it with a body; on the same connection a plain request follows."""
    whole = HEAD + OFFER + body
    assert statuses(address, whole + HEAD + SIZE + BODY, count=2) == [200, 200]
    assert statuses(address, whole[:50], whole[50:-7], whole[-7:]) == [200]
    assert statuses(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"\r\n") == [200]


MOST = 50_000_000
ENDLESS = {
    "a header": (HEAD + b"X: ", b"x" * 10_000),
    "headers": (HEAD, b"X: y\r\n" * 2_000),
    "an address": (b"GET /", b"x" * 10_000),
    "empty lines": (b"\r\n", b"\r\n" * 5_000),
    "a chunk's extension": (HEAD + CHUNKED + b"1;", b"x" * 10_000),
    "a trailer": (HEAD + CHUNKED + b"1\r\n{\r\n0\r\nX: ", b"x" * 10_000),
    "trailers": (HEAD + CHUNKED + b"1\r\n{\r\n0\r\n", b"X: y\r\n" * 2_000),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_ended(address, begin, more):
    """Before, 60 MB of headers were 700 MB in the worker, and nobody had to have a key."""
    assert sent_until_it_ends(address, begin, more) < MOST
    assert statuses(address, HEAD + SIZE + BODY) == [200]


def sent_until_it_ends(address, begin, more):
    sent = 0
    with socket.create_connection(address, timeout=20) as caller, suppress(ConnectionError):
        caller.sendall(begin)
        while sent < MOST:
            caller.sendall(more)
            sent += len(more)
    return sent


def test_a_head_that_is_too_long_is_told_so(address):
    assert statuses(address, HEAD + b"X: ", *[b"x" * 40_000] * 2, pause_s=0.3) == [431]
    assert statuses(address, HEAD + b"X: " + b"x" * 30_000 + b"\r\n" + SIZE + BODY) == [200]


def test_a_trailer_does_not_say_who_asks(home, serve):
    from treadle.ledger import Ledger

    _, key = create_key(Ledger.open(home.settings), "caller", Role.CALLER, "test")
    said = b"X-Api-Key: " + key.encode() + b"\r\n"
    with serve(home.settings) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        behind = CHUNKS[:-2] + said + b"\r\n"
        assert statuses((host, int(port)), HEAD + CHUNKED + behind) == [401]
        assert statuses((host, int(port)), HEAD + said + CHUNKED + CHUNKS) == [200]
