"""What a model's process and its owner say to each other: msgpack in frames over a socket."""

from __future__ import annotations

import socket
from typing import Any, Literal

import msgspec

from treadle.frames import receive_frame, send_frame

MOST_BYTES = (1 << 31) - 1

Failure = Literal["bad-input", "too-much", "not-installed", "tampered", "memory", "error"]


class Open(msgspec.Struct, tag=True):
    """Open a model for a capability.

    Attributes:
        entry: The catalog's entry, as JSON.
        folder: Its files.
        made: What was made of them.
        limits: Of one request.
        memory_mb: What the process may have.
        head: A champion that judges what the model gives, see `treadle.capabilities.trained`; empty for all others.
    """

    capability: str
    entry: bytes
    folder: str
    made: str
    limits: dict[str, float]
    memory_mb: int
    head: bytes = b""


class Prepare(msgspec.Struct, tag=True):
    """Make what a model needs besides its files; `made` of the order is a new folder's name."""

    order: Open


class Ask(msgspec.Struct, tag=True):
    """Answer inputs; with `stream` one input, piece by piece."""

    capability: str
    inputs: list[Any]
    parameters: dict[str, Any]
    stream: bool = False


class Enough(msgspec.Struct, tag=True):
    """Nobody listens any more: end the streamed answer that is under way."""


class Opened(msgspec.Struct, tag=True):
    """The model is there."""

    seconds: float


class Piece(msgspec.Struct, tag=True):
    """A piece of a streamed answer."""

    piece: msgspec.Raw


class Answered(msgspec.Struct, tag=True):
    """The answers, or the end of a stream.

    Attributes:
        answers: One for each input, as msgpack.
        confidence: Of each answer that has one, 0 to 1; the mean.
        facts: Of the inputs: the mean of each fact; and how much was found.
        seconds: Wall time of reading and answering.
        cpu_seconds: CPU time of the same.
    """

    answers: msgspec.Raw
    confidence: float | None
    facts: dict[str, float]
    seconds: float
    cpu_seconds: float


class Failed(msgspec.Struct, tag=True):
    """What went wrong; `why` never holds an input."""

    failure: Failure
    why: str


Order = Open | Prepare | Ask | Enough
Said = Opened | Piece | Answered | Failed

_encode = msgspec.msgpack.Encoder().encode
_read_order = msgspec.msgpack.Decoder(Order).decode
_read_said = msgspec.msgpack.Decoder(Said).decode


def send(channel: socket.socket, message: Order | Said, end: float | None = None) -> None:
    """Send one message, see `send_frame`."""
    send_frame(channel, _encode(message), end)


def hear_order(channel: socket.socket) -> Order:
    """The next order; `EOFError` when the owner is gone."""
    return _read_order(receive_frame(channel, MOST_BYTES))


def hear_said(channel: socket.socket, end: float) -> Said:
    """What the model's process says next, see `receive_frame`."""
    return _read_said(receive_frame(channel, MOST_BYTES, end))
