"""Requests as bytes, and a keep-alive connection that takes one at a time. Plain asyncio with httptools.

Hides nothing of HTTP: what may be sent is any bytes, and what answers nothing that was asked is kept.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvloop

LOST = 0
"""The status of a request that got no answer."""


@dataclass(slots=True)
class Reply:
    """An answer."""

    status: int = LOST
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keeps_alive: bool = False

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection to the service, one request at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.open = False
        self.surplus = b""  # bytes that answer nothing that was asked
        self._parser = httptools.HttpResponseParser(self)
        self._reply = Reply()
        self._parts: list[bytes] = []
        self._waiting: asyncio.Future[Reply] | None = None
        self._head_only = False

    @classmethod
    async def to(cls, host: str, port: int) -> Connection:
        """Connect."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self.transport, self.open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: who waits gets nothing more, but for an answer that ends with its connection."""
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            if self._reply.status and "content-length" not in self._reply.headers:
                self.on_message_complete()
            else:
                self._waiting.set_result(Reply())

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._waiting is None or self._waiting.done():
            self.surplus += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.surplus += data
            self.close()

    def on_message_begin(self) -> None:
        self._reply, self._parts = Reply(), []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._reply.status = self._parser.get_status_code()
        if self._head_only and self._reply.status >= 200:
            self.on_message_complete()
            self.close()  # the parser would wait for the body that Content-Length tells of

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._reply.status in {100, 103}:
            return
        self._reply.body = b"".join(self._parts)
        self._reply.keeps_alive = self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._reply)

    async def ask(self, request: bytes, deadline_s: float) -> Reply:
        """Send the bytes of a request and wait for its answer; status `LOST` if there is none."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._head_only = request.startswith(b"HEAD ")
        if not self.open:
            return Reply()
        self.transport.write(request)
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self._waiting
        except TimeoutError:
            self.close()
            return Reply()
        if not reply.keeps_alive:
            self.close()
        return reply

    def close(self) -> None:
        """Close at once."""
        self.open = False
        if self.transport is not None:
            self.transport.abort()


def http(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request.

    >>> http("GET", "/healthz").splitlines()[0]
    b'GET /healthz HTTP/1.1'
    """
    sent = {"Host": "127.0.0.1"} | ({"Content-Type": "application/json"} if body else {}) | (headers or {})
    if body or method not in {"GET", "HEAD"}:
        sent |= {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def ask(port: int, request: bytes, deadline_s: float = 30.0) -> Reply:
    """One request on a connection of its own."""

    async def once() -> Reply:
        try:
            connection = await Connection.to("127.0.0.1", port)
        except OSError:
            return Reply()
        reply = await connection.ask(request, deadline_s)
        connection.close()
        return reply

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(once())
