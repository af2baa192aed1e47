"""The owner's end of a model's process: start it, ask it, watch its memory and its time, kill it."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from treadle.capabilities import wire
from treadle.capabilities.limits import BadInput, TooMuch
from treadle.capabilities.sources import NotInstalled, Tampered
from treadle.confined import begin
from treadle.errors import TreadleError, Unavailable

LOOK_S = 0.2
"""How often the memory of a process that is at work is looked at."""
NO_HUB = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": "/nonexistent",
}
"""What the child's libraries are told: they ask nobody, and there is nothing at home."""
PAGE_BYTES = resource.getpagesize()
TICKS = os.sysconf("SC_CLK_TCK")


class Ended(Unavailable):
    """A model's process that ended while it was asked; the next request starts another."""


class ModelError(TreadleError):
    """A model that raised something nobody foresaw."""

    exit_code = 1
    status = 500
    title = "Model failed"


class Process:
    """One child that has one model. Belongs to one thread: the child dies when that thread ends.

    Args:
        memory_mb: What it may have.
    """

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._cpu_seconds = 0.0
        self._child, self._channel = begin("treadle.capabilities.child", **NO_HUB)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        return self._channel.fileno() >= 0 and self._child.poll() is None

    @property
    def memory_mb(self) -> int:
        """What it has in memory now; 0 when it has ended."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * PAGE_BYTES >> 20

    @property
    def cpu_seconds(self) -> float:
        """What it has used, to a tick of the system; what it had when it was killed, afterwards."""
        if self._channel.fileno() >= 0:
            with suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
                self._cpu_seconds = (int(fields[11]) + int(fields[12])) / TICKS
        return self._cpu_seconds

    def tell(self, order: wire.Open | wire.Prepare, deadline_s: float) -> None:
        """Have it open or prepare a model.

        Raises:
            TreadleError: It cannot, or not in time.
        """
        self._exchange(order, deadline_s, None, lambda: False)

    def ask(
        self, ask: wire.Ask, deadline_s: float, on_piece: Callable[[bytes], None] | None, enough: Callable[[], bool]
    ) -> wire.Answered:
        """Have it answer.

        Args:
            ask: The request.
            deadline_s: Seconds after which the child is killed.
            on_piece: Gets each piece of a streamed answer, as msgpack.
            enough: Whether nobody listens to a stream any more.

        Raises:
            TreadleError: There is no answer.
        """
        said = self._exchange(ask, deadline_s, on_piece, enough)
        assert isinstance(said, wire.Answered)  # noqa: S101 - the child's own code
        return said

    def _exchange(
        self, order: wire.Order, deadline_s: float, on_piece: Callable[[bytes], None] | None, enough: Callable[[], bool]
    ) -> wire.Opened | wire.Answered:
        end = time.monotonic() + deadline_s
        try:
            wire.send(self._channel, order, end)
            while True:
                said = self._hear(end)
                if isinstance(said, wire.Failed):
                    raise self._error(said)
                if not isinstance(said, wire.Piece):
                    return said
                if on_piece is not None:
                    on_piece(bytes(said.piece))
                if enough():
                    on_piece, enough = None, lambda: False
                    wire.send(self._channel, wire.Enough(), end)
        except TimeoutError:
            self.kill()
            raise TooMuch(f"It took longer than {deadline_s:g} seconds and was ended; send less at once.") from None
        except (OSError, EOFError, msgspec.MsgspecError):
            code = self.kill()
            raise Ended(f"The model's process ended with {code}; the next request starts another.") from None

    def _hear(self, end: float) -> wire.Said:
        """The next frame; meanwhile the child's memory is watched."""
        while True:
            self._channel.settimeout(max(0.001, min(LOOK_S, end - time.monotonic())))
            try:
                begun = self._channel.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                if time.monotonic() >= end:
                    raise
                self._check_memory()
                continue
            if not begun:
                raise EOFError
            return wire.hear_said(self._channel, end)

    def _check_memory(self) -> None:
        if self.memory_mb > self._memory_mb:
            raise self._error(wire.Failed("memory", ""))

    def _error(self, failed: wire.Failed) -> TreadleError:
        if failed.failure == "memory":  # what it has taken it keeps
            self.kill()
            return TooMuch(
                f"It wanted more than {self._memory_mb:,} MB of memory and was ended; send less at once."
                " (TREADLE_READY_MEMORY_MB)"
            )
        kinds = {"bad-input": BadInput, "too-much": TooMuch, "not-installed": NotInstalled, "tampered": Tampered}
        if failed.failure in kinds:
            return kinds[failed.failure](failed.why)
        return ModelError(f"The model failed: {failed.why}.")

    def cut(self) -> None:
        """Have the child end, from any thread; whoever waits for it is told so."""
        with suppress(ProcessLookupError):
            self._child.kill()

    def kill(self) -> int:
        """End the child at once; its exit code."""
        _ = self.cpu_seconds  # its last chance to be told
        self.cut()
        code = self._child.wait()
        self._channel.close()
        return code
