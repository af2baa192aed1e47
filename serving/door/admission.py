"""Who may come in: a bounded number of requests at once, told apart from health checks, and none once it is closing.

A request that cannot be begun soon is refused at once, before its body is read: a quick 503 is worth more to a caller
than a late answer, and what is begun is finished at full speed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from treadle.errors import Unavailable

R = TypeVar("R")
THREADS = 2
"""Large requests at work at once; ONNX runs beside Python, so one more than a core would only queue elsewhere."""
TURN_S = 0.05
"""CPU time that small requests may take in one turn of the loop: what comes beyond is refused, since everybody waits."""
TOO_MUCH = "More requests are under way than can be answered soon; try again in a second."


class Overloaded(Unavailable):
    """There is more to do than can be done soon."""


def _give_way() -> None:
    """Let the loop go first, and with it refusals and health checks: Linux has a nice value for each thread."""
    os.nice(2)


class Admission:
    """The requests that are under way in this worker.

    A body that is still arriving holds no place, or slow callers would keep the others out; only its bytes count.

    Attributes:
        draining: Whether the worker is about to end: readyz says so, and connections are closed after their answers.
        requests: Requests under way, their bodies read.
        received: Bytes of bodies that have arrived and are not answered yet.
        threads: Where large requests are answered.
    """

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self.draining = False
        self.requests = 0
        self.received = 0
        self._turn_s = 0.0
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="predict", initializer=_give_way)

    @property
    def full(self) -> bool:
        """Whether as many are under way as there may be, or this turn of the loop has done enough."""
        return self.requests >= self._most_requests or self._turn_s > TURN_S

    def check(self) -> None:
        """Refuse when it is full.

        Raises:
            Overloaded: It is so.
        """
        if self.full:
            raise Overloaded(TOO_MUCH)

    def at_once(self, work: Callable[[], R]) -> R:
        """Do a small piece of work on the loop; its CPU time counts in this turn."""
        if not self._turn_s:
            asyncio.get_running_loop().call_soon(self._new_turn)
        begun = time.thread_time()
        try:
            return work()
        finally:
            self._turn_s += time.thread_time() - begun

    def _new_turn(self) -> None:
        self._turn_s = 0.0

    def receive(self, size: int) -> None:
        """Count bytes that arrived.

        Raises:
            Overloaded: All bodies together are too large.
        """
        if self.received + size > self._most_bytes:
            raise Overloaded("Too many large requests are under way; try again in a second.")
        self.received += size

    def release(self, size: int) -> None:
        """Bytes whose request is over."""
        self.received -= size

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Be one of the requests under way.

        Raises:
            Overloaded: There are as many as there may be.
        """
        self.check()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    def stop(self) -> None:
        """Let the threads end."""
        self.threads.shutdown(wait=False)
