"""Frames over a socket, until a deadline: how processes of one machine hear each other."""

from __future__ import annotations

import select
import socket
import struct
import time

HEADER = struct.Struct("<I")
MOST_BYTES = (1 << 32) - 1


def send_frame(channel: socket.socket, content: bytes, end: float | None = None) -> None:
    """Send one frame, until `end` of the monotonic clock; `None` waits for ever.

    Raises:
        TimeoutError: It did not go out in time.
        OSError: The other end is gone.
    """
    channel.settimeout(None if end is None else max(0.001, end - time.monotonic()))
    channel.sendall(HEADER.pack(len(content)))
    channel.sendall(content)


def receive_frame(channel: socket.socket, most: int = MOST_BYTES, end: float | None = None) -> bytearray:
    """One frame of `most` bytes at most, until `end` of the monotonic clock.

    Raises:
        TimeoutError: It is late.
        EOFError: The other end is gone, or says too much.
    """
    (size,) = HEADER.unpack(read_whole(channel, HEADER.size, end))
    if size > most:
        raise EOFError
    return read_whole(channel, size, end)


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


def is_readable(file: socket.socket | int) -> bool:
    """Whether something waits to be read, or the other end is gone; `select` would know the first 1,024 files alone."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))
