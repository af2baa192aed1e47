"""The end of a connection whose caller is told no before it has said all: closed at once, it would be reset.

A caller who still sends then sees the reset instead of the answer, so a server closes in two steps (RFC 9112, 9.6): it says
that it is done, and reads what is still on its way until the caller closes, or for as long as is fair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

MOST_BYTES = 64 * 1024 * 1024
"""Of a body that is dropped; who sends more is cut off."""


class Closing:
    """A transport as a request's cycle sees it: what it closes while its body still arrives is closed in two steps."""

    def __init__(self, transport: Any, is_arriving: Callable[[], bool], part: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._transport = transport
        self._is_arriving = is_arriving
        self._part = part

    def close(self) -> None:
        """Close it, in one step or in two."""
        if self._is_arriving() and not self._transport.is_closing():
            self._part()
        else:
            self._transport.close()


class Farewell(asyncio.Protocol):
    """Drops what a caller still sends after its last answer; the transport closes when the caller does.

    Args:
        transport: What is about to close.
        connection: The protocol that had it, which hears of all but the data.
    """

    def __init__(self, transport: Any, connection: asyncio.Protocol) -> None:
        self._transport = transport
        self._dropped = 0
        self.connection_lost = connection.connection_lost
        self.pause_writing = connection.pause_writing
        self.resume_writing = connection.resume_writing

    def data_received(self, data: bytes) -> None:
        """Drop it."""
        self._dropped += len(data)
        if self._dropped > MOST_BYTES:
            self._transport.abort()
