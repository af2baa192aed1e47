"""Callers who mean no good: slow, silent, endless, gone. Each is one connection; `besiege` opens many and counts them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from tests.faults.connection import http
from tests.faults.traffic import PREDICT

HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
TICK_S = 1.0
Hostile = Callable[[int], Coroutine[Any, Any, None]]
"""Keeps one connection to a port in its way, until the service ends it."""


async def slow_headers(port: int) -> None:
    """A byte of a header a second."""
    await _trickle(port, b"", HEAD.encode() + b"X: " + b"x" * 10_000)


async def slow_body(port: int) -> None:
    """A byte of a body a second."""
    await _trickle(port, f"{HEAD}Content-Length: 100000\r\n\r\n".encode(), b'{"rows":[' + b" " * 10_000)


async def slow_chunks(port: int) -> None:
    """A chunk of one byte a second, without an end."""
    await _trickle(port, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\n \r\n" * 2_000, step=6)


async def silent(port: int) -> None:
    """A connection on which nothing is ever said."""
    await _trickle(port, b"", b"")


async def half_said(port: int) -> None:
    """Half a request, then silence."""
    await _trickle(port, f"{HEAD}Content-Length: 500\r\n\r\n{{".encode(), b"")


async def slow_reader(port: int) -> None:
    """Asks for large answers again and again, and reads nothing of them."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    try:
        async with asyncio.timeout(TICK_S):
            await loop.sock_sendall(raw, http("GET", "/openapi.json") * 400)
    except TimeoutError:
        pass
    except OSError:
        raw.close()
        return
    try:
        while raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and _is_connected(raw):
            await asyncio.sleep(TICK_S / 2)
    finally:
        raw.close()


def _is_connected(raw: socket.socket) -> bool:
    """By the kernel's word: a reset is noticed without reading."""
    state = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state in {1, 8}  # ESTABLISHED, or CLOSE_WAIT: the answer's end lies unread


async def _trickle(port: int, first: bytes, rest: bytes, step: int = 1) -> None:
    """Send `first`, then `rest` in small steps; return when the service has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    closed = asyncio.ensure_future(_until_closed(reader))
    try:
        writer.write(first)
        for at in range(0, len(rest), step):
            await asyncio.wait([closed], timeout=TICK_S)
            if closed.done():
                return
            writer.write(rest[at : at + step])
        await closed
    finally:
        closed.cancel()
        writer.transport.abort()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass


KINDS: tuple[Hostile, ...] = (slow_headers, slow_body, slow_chunks, silent, half_said, slow_reader)


class Siege:
    """Many hostile connections at once, beside the test: `with Siege(port, count) as siege:`.

    Attributes:
        ended: How many of them the service has ended.
    """

    def __init__(self, port: int, count: int, kinds: Sequence[Hostile] = KINDS) -> None:
        self.ended = 0
        self._tasks = [(kinds[number % len(kinds)], port) for number in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="siege", daemon=True)

    def _run(self) -> None:
        async def one(kind: Hostile, port: int) -> None:
            await kind(port)
            self.ended += 1

        async def all_of_them() -> None:
            await asyncio.gather(*(one(kind, port) for kind, port in self._tasks), return_exceptions=True)

        self._main = self._loop.create_task(all_of_them())
        try:
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(30)


def leave(port: int, sent: bytes, *, reset: bool) -> None:
    """Send some bytes and go: with a reset, as a crashed caller does, or with a plain end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(sent)
        if reset:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def pour(port: int, size: int, *, chunked: bool) -> int:
    """Send a body of `size` bytes, of declared length or in chunks without end; the status of the answer, 0 if none."""
    kind = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    block = b" " * 65536
    piece = b"%x\r\n%b\r\n" % (len(block), block) if chunked else block
    with socket.create_connection(("127.0.0.1", port), timeout=120) as raw:
        try:
            raw.sendall(f"{HEAD}{kind}\r\n\r\n".encode())
            for _ in range(size // len(block)):
                raw.sendall(piece)
        except OSError:
            pass  # the service has heard enough; its answer may lie in the buffer
        try:
            return int(raw.recv(4096).split(b" ", 2)[1])
        except (OSError, IndexError, ValueError):
            return 0
