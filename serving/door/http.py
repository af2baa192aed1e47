"""One caller's connection: HTTP/1.1 (`framing`) with deadlines, and with a fast lane for small predict requests.

uvicorn waits for ever for a header, a body or a reader. Here one sweep a second looks at all connections and ends those
that are overdue, which costs good callers nothing.
"""

from __future__ import annotations

import re
import resource
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from serving.door.farewell import Closing, Farewell
from serving.door.framing import Framing
from serving.door.guard import PAGE_HEADERS
from serving.door.limits import SMALL_BYTES
from serving.problem_details import BadRequest, problem

if TYPE_CHECKING:
    from serving.answering.lane import Lane
    from serving.door.admission import Admission
    from serving.door.guard import Guard
    from treadle.errors import TreadleError

PREDICT = re.compile(rb"/v1/models/([a-z][a-z0-9-]{0,62})/predict")
MOST_CONNECTIONS = 4_000
"""Above it, each new connection ends the one that has sent nothing of use for the longest time."""
OTHER_FILES = 256
"""Open files that a worker needs besides its connections: the port, the journal, the ledger, models and the processes that prove them."""
RESET = struct.pack("ii", 1, 0)
"""Linger for no time: what was not sent yet is dropped when the connection is closed."""
SPECIAL = frozenset((b"content-encoding", b"cookie", b"expect", b"origin", b"traceparent", b"transfer-encoding", b"upgrade",
                     b"x-request-id", b"x-sticky-key"))  # fmt: skip
"""Headers that ask for something that the lane does not do."""


@dataclass(frozen=True)
class Deadlines:
    """For how long a caller may keep a connection waiting, seconds.

    Attributes:
        headers_s: For the headers of a request, from its first byte or from the connection.
        message_s: For the whole request; where the app reads the body itself, it says 408 a little sooner.
        unread_s: For which an answer may lie unread.
        idle_s: For which a connection may lie idle after an answer of the lane.
        parting_s: For which what it still sends is read, when its last answer came before its request was whole.
        ending_s: For which a request may be on its way from a caller who connected shortly before the service ends.
    """

    headers_s: float = 15.0
    message_s: float = 40.0
    unread_s: float = 30.0
    idle_s: float = 75.0
    parting_s: float = 5.0
    ending_s: float = 1.0


class Connection(Framing):
    """A connection. A request that the lane takes never becomes a task; any other is uvicorn's as always."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lane: Lane | None = self.app_state.get("lane")
        self._guard: Guard | None = self.app_state.get("guard")
        self._admission: Admission | None = self.app_state.get("admission")
        self._deadlines: Deadlines = self.app_state.get("deadlines", Deadlines())
        self._most_connections: int = self.app_state.get("most_connections", MOST_CONNECTIONS)
        self._held: list[bytes] | None = None  # the body of a request that may be the lane's
        self._name = ""
        self._in_lane = False
        self._refused = False  # what still arrives of this request is dropped
        self._arriving_since: float | None = None
        self._headers_arrived = False
        self._unread_since: float | None = None
        self._idle_since: float | None = None
        self._parting_since: float | None = None

    # What uvicorn's parser tells

    def on_message_begin(self) -> None:
        """A request begins. The one before it, if it is in the lane still, is answered first: answers keep their order."""
        if self._in_lane and self._lane is not None:
            self._lane.flush()
        self.told, self.offered = True, False
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._arriving_since, self._headers_arrived, self._idle_since = self.loop.time(), False, None

    def on_headers_complete(self) -> None:
        """Hold what may be the lane's until its body is there; refuse a large one at once when there is too much to do."""
        self.told = True
        if self.is_offer():
            return
        self._headers_arrived = True
        length = self._length_if_plain()
        if 0 <= length <= SMALL_BYTES:
            self._held = []
        elif length < 0 or not self._refuse_if_full():
            self._to_app()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.told = True
        if self._held is not None:
            self._held.append(body)
        elif not self._refused:
            super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One that comes behind the body, a trailer, is not read: it could say who asks (RFC 9110, section 6.5.1)."""
        if not self._headers_arrived:
            super().on_header(name, value)

    def end_endless(self) -> None:
        """End a request that goes on and on without telling anything; it is said, if no answer is on its way."""
        if self._in_lane or self._in_app or self._headers_arrived:
            self.end()
            return
        error = BadRequest("The head of a request may be 64 KiB.", 431)
        self._say(*_refusal(error.status, error.title, str(error), b""))
        self.transport.close()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.offered:
            return
        self._arriving_since = None
        if self._refused:
            self._refused, self._idle_since = False, self.loop.time()
        elif self._held is None or self._lane is None:
            super().on_message_complete()
        elif self._lane.take(self, self._name, b"".join(self._held)):
            self._in_lane = self._held is not None  # else it was refused
        else:
            self.hand_over()

    @property
    def _in_app(self) -> bool:
        """Whether the app has a request that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_if_full(self) -> bool:
        """Refuse before the body is there, as the app would, but without a task for it."""
        if self._lane is not None and self._admission is not None and self._admission.full:
            self._refused = self._lane.refuse(self, self._name)
        return self._refused

    def _length_if_plain(self) -> int:
        """The body's length, if this is a plain JSON predict request on a connection with nothing else going on; else -1."""
        found = PREDICT.fullmatch(self.url) if self._lane is not None else None
        parser: Any = self.parser
        if found is None or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return -1
        draining = self._admission is not None and self._admission.draining
        if self._in_app or draining or self.flow.write_paused or not parser.should_keep_alive():
            return -1
        name = found[1].decode()
        client = self.client[0] if self.client else None
        if self._guard is None or self._guard.admit_at_once(self.headers, client, name) is None:
            return -1
        length = -1
        for header, value in self.headers:
            if header in SPECIAL or (header == b"content-type" and not value.startswith(b"application/json")):
                return -1
            if header == b"content-length":
                length = int(value)  # the parser has checked it
        self._name = name
        return length

    def _to_app(self) -> None:
        """Begin the request as uvicorn would have."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this very list
        super().on_headers_complete()
        if self.cycle is None:
            return
        closing: Any = Closing(self.transport, lambda: self._arriving_since is not None, self._part)
        self.cycle.transport = closing
        if self._admission is not None and self._admission.draining:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """An answer is out; one that was the last is followed by no other, whatever waits behind it."""
        if self._parting_since is None:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1

    def _part(self) -> None:
        """Say that there is no more, and drop what still comes."""
        self._parting_since = self.loop.time()
        self.transport.set_protocol(Farewell(self.transport, self))
        self.transport.write_eof()
        self.flow.resume_reading()

    def shutdown(self) -> None:
        """The port has closed: what waits in the lane is answered before the connection ends, and so is who has just come."""
        if self._in_lane and self._lane is not None:
            self._lane.flush()
        until = None if self._arriving_since is None else self._arriving_since + self._deadlines.ending_s
        if until is None or self._in_app or self.loop.time() >= until:
            super().shutdown()
        else:
            self.loop.call_at(until, self.shutdown)

    # What the lane does with a request

    def answer(self, content: bytes) -> None:
        """Send the lane's answer."""
        self._say(b"%bcontent-length: %d\r\n" % (OK, len(content)), content)

    def refuse(self, error: TreadleError) -> None:
        """Send what the app would say, but at once: in an overload there is no time for a task a refusal."""
        self._say(*_refusal(error.status, error.title, str(error), self.url))

    def _say(self, head: bytes, content: bytes) -> None:
        self._held, self._in_lane = None, False
        if self.transport.is_closing():
            return
        self.transport.write(b"%b%b\r\n%b" % (head, _lines(self.server_state.default_headers), content))
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()

    def hand_over(self) -> None:
        """Let the app have a request that was held; the parser may be further already, so it is told what it was."""
        held, self._held, self._in_lane = self._held or [], None, False
        if self.transport.is_closing():
            return
        parser, self.parser = self.parser, _PLAIN_POST
        try:
            self._to_app()
            for part in held:
                super().on_body(part)
            super().on_message_complete()
        finally:
            self.parser = parser

    # Deadlines

    def connection_made(self, transport: Any) -> None:
        """A caller connects."""
        super().connection_made(transport)
        self._arriving_since = self.loop.time()
        if len(self.connections) > self._most_connections:
            _end_the_longest_waiting(self.connections, self.loop.time())

    def pause_writing(self) -> None:
        """The caller does not read as fast as it is answered."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._unread_since = None
        super().resume_writing()

    def waits(self, now: float) -> float:
        """For how long the caller has kept this connection waiting, as a share of what it may."""
        may = self._deadlines
        if self._parting_since is not None:
            return (now - self._parting_since) / may.parting_s
        if self._unread_since is not None:
            return (now - self._unread_since) / may.unread_s
        if self._arriving_since is not None:
            return (now - self._arriving_since) / (may.message_s if self._headers_arrived else may.headers_s)
        return 0.0 if self._idle_since is None else (now - self._idle_since) / may.idle_s

    def end(self) -> None:
        """Close it at once, by a reset: an answer that nobody reads would stay in the kernel's memory otherwise."""
        found = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class _PlainPost:
    """What the parser said of a request that the lane held."""

    def get_http_version(self) -> str:
        return "1.1"

    def get_method(self) -> bytes:
        return b"POST"

    def should_upgrade(self) -> bool:
        return False

    def should_keep_alive(self) -> bool:
        return True


_PLAIN_POST: Any = _PlainPost()


@lru_cache(maxsize=256)
def _refusal(status: int, title: str, detail: str, url: bytes) -> tuple[bytes, bytes]:
    """Head and body of a refusal; those of one overload are all the same."""
    response = problem(status, title, detail, url.decode("ascii"))
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first + _lines(response.raw_headers) + SAFE, bytes(response.body)


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


SAFE = _lines(PAGE_HEADERS)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + SAFE
"""How each answer of the lane begins, with the headers that the guard gives to every other."""


def sweep(connections: set[Any], now: float) -> int:
    """End the connections that are overdue; how many those were. `now` is the loop's time."""
    overdue = [c for c in connections if isinstance(c, Connection) and c.waits(now) > 1]
    for connection in overdue:
        connection.end()
    return len(overdue)


def most_connections() -> int:
    """How many connections this process keeps."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else connections_within(files)


def connections_within(files: int) -> int:
    """How many connections a worker keeps that may have so many open files.

    Else it would take the last file for a caller, and nobody could come in, nor the ledger be opened, until one leaves.

    >>> connections_within(65_536), connections_within(1_024), connections_within(256)
    (4000, 768, 128)
    """
    return min(MOST_CONNECTIONS, max(files - OTHER_FILES, files // 2))


def _end_the_longest_waiting(connections: set[Any], now: float) -> None:
    staying = (c for c in connections if isinstance(c, Connection) and not c.transport.is_closing())
    longest = max(staying, key=lambda c: c.waits(now), default=None)
    if longest is not None:
        longest.end()
