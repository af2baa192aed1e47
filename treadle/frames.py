"""Bytes read whole from a socket, until a deadline: how processes of one machine hear each other's frames."""

from __future__ import annotations

import socket
import time


def read_whole(channel: socket.socket, size: int, end: float | None) -> bytearray:
    """So many bytes, until `end` of the monotonic clock; `None` waits for ever.

    Raises:
        TimeoutError: They are late.
        EOFError: The other end is gone.
    """
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        channel.settimeout(None if end is None else max(0.001, end - time.monotonic()))
        count = channel.recv_into(view[filled:])
        if count == 0:
            raise EOFError
        filled += count
    return content
