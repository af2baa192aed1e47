"""A version in a process of its own, where it can be killed: the program of that process, and the parent's end of it.

The child is a clean interpreter that gets verified bytes over a socket and reads no file: it has no keys, no settings and
no environment of the service, may write nothing, and has a limit of memory. It dies with whoever started it.
"""

from __future__ import annotations

import resource
import socket
import time
from contextlib import suppress
from typing import Any, Literal

import msgspec
import numpy as np

from treadle.confined import begin, confine
from treadle.errors import TreadleError, Unavailable
from treadle.frames import receive_frame, send_frame
from treadle.models.onnx_session import open_session

BYTES_A_MODEL_BYTE = 4
"""A model needs some times its own size while it is opened; this comes on top of the limit."""
START_S = 60.0
"""An interpreter and its libraries are there in a third of a second, but not where others take all the time."""
MOST_PLACES = 1024
"""Widest answer that is read: classes."""
MOST_TOLD = 4096
"""Bytes of what the child says besides."""

Kind = Literal["error", "timeout", "crash", "memory", "shape", "nonfinite"]


class Load(msgspec.Struct, tag=True):
    """Open a model; what was open before is let go."""

    onnx_bytes: bytes
    memory_bytes: int


class Ask(msgspec.Struct, tag=True):
    """Rows by input: float64 as bytes, or texts.

    Attributes:
        wide: The inputs of `numbers` that are matrices, with their widths.
    """

    numbers: dict[str, bytes]
    wide: dict[str, int]
    texts: dict[str, list[str]]


class Told(msgspec.Struct):
    """What the child says: an answer as float64, or what is wrong.

    Attributes:
        seconds: How long the model took.
    """

    values: bytes = b""
    shape: tuple[int, ...] = ()
    seconds: float = 0.0
    failed: Kind | None = None
    why: str = ""


_encode = msgspec.msgpack.Encoder().encode
_read_order = msgspec.msgpack.Decoder(Load | Ask).decode
_read_told = msgspec.msgpack.Decoder(Told).decode


class IsolatedFailure(TreadleError):
    """A version did not answer as it should.

    Attributes:
        kind: `error` it raised, `timeout` it took too long, `crash` its process ended, `memory` it wanted too much of
            it, `shape` what it gave is no answer to the rows, `nonfinite` it is NaN or infinite.
    """

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(why)
        self.kind: Kind = kind


class Isolated:
    """A child process that runs one model at a time. Belongs to one thread: the child dies when that thread ends.

    Args:
        memory_bytes: Address space that the child may have, over and above four times the model's size.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._is_there = False
        self._process, self._channel = begin("serving.models.isolated", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether the child can be asked."""
        return self._channel.fileno() >= 0 and self._process.poll() is None

    def arrive(self) -> None:
        """Wait until the child is there: how long it takes to begin says nothing of a model.

        Raises:
            Unavailable: It does not begin.
        """
        if self._is_there:
            return
        try:
            receive_frame(self._channel, MOST_TOLD, time.monotonic() + START_S)
        except TimeoutError:
            self.kill()
            raise Unavailable(f"A process to try it in did not begin within {START_S:g} seconds.") from None
        except (OSError, EOFError):
            code = self.kill()
            raise Unavailable(f"A process to try it in ended with {code} before it began.") from None
        self._is_there = True

    def load(self, onnx_bytes: bytes, deadline_s: float) -> None:
        """Open a model, once the child is there.

        Raises:
            IsolatedFailure: It does not open, in time or in the memory that it may have.
            Unavailable: The child does not begin.
        """
        self.arrive()
        limit = self._memory_bytes + BYTES_A_MODEL_BYTE * len(onnx_bytes)
        self._exchange(Load(onnx_bytes, limit), 0, deadline_s)

    def answer(self, columns: dict[str, np.ndarray], deadline_s: float) -> tuple[np.ndarray, float]:
        """Answer rows.

        Args:
            columns: The model's inputs, float64 (n,) or (n, k), or text (n,).
            deadline_s: Seconds after which the child is killed.

        Returns:
            float64 (n,) or (n, k), not necessarily finite, and the seconds that the model took.

        Raises:
            IsolatedFailure: There is no such answer.
        """
        numbers = {name: values.tobytes() for name, values in columns.items() if values.dtype != object}
        texts = {name: values.tolist() for name, values in columns.items() if values.dtype == object}
        wide = {name: values.shape[1] for name, values in columns.items() if values.ndim > 1}
        rows = len(next(iter(columns.values())))
        told = self._exchange(Ask(numbers, wide, texts), rows, deadline_s)
        if not 1 <= len(told.shape) <= 2 or told.shape[0] != rows or len(told.values) != 8 * int(np.prod(told.shape)):
            raise IsolatedFailure("shape", f"It answers {rows} rows with an array of shape {list(told.shape)}.")
        return np.frombuffer(told.values, dtype=np.float64).reshape(told.shape), told.seconds

    def _exchange(self, order: Load | Ask, rows: int, deadline_s: float) -> Told:
        """Say something and hear the answer; a child that does not give one is killed."""
        end = time.monotonic() + deadline_s
        try:
            send_frame(self._channel, _encode(order), end)
            told = _read_told(receive_frame(self._channel, 8 * rows * MOST_PLACES + MOST_TOLD, end))
        except TimeoutError:
            self.kill()
            raise IsolatedFailure("timeout", f"It gave no answer within {deadline_s:g} seconds.") from None
        except (OSError, EOFError, msgspec.MsgspecError):
            code = self.kill()
            raise IsolatedFailure("crash", f"Its process ended with {code}.") from None
        if told.failed is not None:
            if told.failed == "memory":  # what it has taken it keeps
                self.kill()
            raise IsolatedFailure(told.failed, told.why)
        return told

    def kill(self) -> int:
        """End the child at once; its exit code."""
        self._channel.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        return self._process.wait()


# The child


def main(channel: socket.socket) -> None:
    """Answer until the parent is gone, and write no file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    send_frame(channel, _encode(Told()))  # it is there
    session: Any = None
    while True:
        try:
            order = _read_order(receive_frame(channel))
        except EOFError:
            return
        try:
            if isinstance(order, Load):
                session = None
                _limit_memory(order.memory_bytes)
                session = open_session(order.onnx_bytes)
                told = Told()
            else:
                told = _answer(session, order)
        except MemoryError:
            told = Told(failed="memory", why="It wants more memory than it may have.")
        except Exception as error:  # noqa: BLE001 - whatever a model raises, the parent is told
            told = _failure(error)
        send_frame(channel, _encode(told))


def _limit_memory(size: int) -> None:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        resource.setrlimit(kind, (size, resource.getrlimit(kind)[1]))


def _answer(session: Any, ask: Ask) -> Told:
    columns = {name: np.frombuffer(values, dtype=np.float64) for name, values in ask.numbers.items()}
    columns |= {name: columns[name].reshape(-1, width) for name, width in ask.wide.items()}
    columns |= {name: np.array(values, dtype=object) for name, values in ask.texts.items()}
    begun = time.perf_counter()
    values = session.run(None, columns)[0]
    seconds = time.perf_counter() - begun
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        return Told(failed="shape", why="Its answer is not an array of numbers.")
    return Told(values.astype(np.float64).tobytes(), values.shape, seconds)


def _failure(error: Exception) -> Told:
    """What a model raised; its text may hold values of the rows, so it is not told."""
    text = str(error)
    if "bad_alloc" in text or "Failed to allocate" in text:
        return Told(failed="memory", why="It wants more memory than it may have.")
    return Told(failed="error", why=f"It raises {type(error).__name__}.")


if __name__ == "__main__":
    main(confine())
