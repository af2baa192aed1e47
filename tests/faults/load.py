"""An open-loop load generator: requests leave by a schedule, whether or not the service keeps up.

A latency counts from the moment when the request was due, not from when a connection was free for it, so a stall is seen
by everyone who would have met it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import uvloop

from tests.faults.connection import LOST, Connection, Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended; times in seconds since the load began.

    Attributes:
        due: When it should leave.
        left: When the generator came to it: later than due only if this machine has no time for the generator.
        sent: When a connection was free for it.
        done: When its answer was there.
        reply: The answer.
        asked: What the maker of requests noted about it.
    """

    due: float
    left: float
    sent: float
    done: float
    reply: Reply
    asked: Any

    @property
    def latency_s(self) -> float:
        """From the moment when it was due."""
        return self.done - self.due


Make = Callable[[int], tuple[bytes, Any]]
"""Makes request number n: its bytes, and whatever shall be remembered with its outcome."""


@dataclass
class Figures:
    """A load in figures; latencies in milliseconds, of the good answers.

    Attributes:
        generator_late_ms: By how much the generator itself was late at worst: latencies are that much too long.
    """

    asked: int
    good: int
    statuses: dict[int, int]
    lost: int
    goodput: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    refused_p99_ms: float
    generator_late_ms: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], seconds: float) -> Figures:
        """Count outcomes that came within `seconds`."""
        good = sorted(o.latency_s * 1000 for o in outcomes if o.reply.status == 200)
        refused = sorted(o.latency_s * 1000 for o in outcomes if o.reply.status in {429, 503})
        statuses = Counter(o.reply.status for o in outcomes)
        return cls(
            len(outcomes), len(good), dict(sorted(statuses.items())), statuses[LOST], len(good) / max(seconds, 1e-9),
            quantile(good, 0.5), quantile(good, 0.99), quantile(good, 1.0), quantile(refused, 0.99),
            max((o.left - o.due for o in outcomes), default=0.0) * 1000,
        )  # fmt: skip


def in_time(outcomes: Iterable[Outcome], seconds: float) -> float:
    """Good answers a second, counted while requests left."""
    return sum(o.reply.status == 200 and o.done <= seconds for o in outcomes) / seconds


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; NaN if there are none.

    >>> quantile([1.0, 2.0, 3.0], 0.5)
    2.0
    """
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else float("nan")


class Generator:
    """Sends requests to one address on keep-alive connections, at most `connections` at once."""

    def __init__(self, port: int, make: Make, *, connections: int = 64, deadline_s: float = 30.0) -> None:
        self.outcomes: list[Outcome] = []
        self.begun = time.perf_counter()
        self._port = port
        self._make = make
        self._deadline_s = deadline_s
        self._free: list[Connection] = []
        self._gate = asyncio.Semaphore(connections)
        self._under_way: set[asyncio.Task[None]] = set()
        self._number = 0
        self.repeated = 0  # requests that were sent again, since an idle connection had been closed

    async def open_loop(self, rate: float, seconds: float, stop: threading.Event | None = None, seed: int = 0) -> None:
        """Let requests leave at random moments (Poisson), `rate` a second, and wait for their answers."""
        chance, due = random.Random(seed), time.perf_counter()
        end = due + seconds
        while (due := due + chance.expovariate(rate)) < end and not (stop is not None and stop.is_set()):
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self._leave(due)
        await self._settle()

    async def closed_loop(self, callers: int, seconds: float) -> None:
        """Let `callers` ask one request after the other: what the service can do at most."""
        end = time.perf_counter() + seconds

        async def call() -> None:
            while time.perf_counter() < end:
                await self._ask(time.perf_counter())

        await asyncio.gather(*(call() for _ in range(callers)))
        self.close()

    def _leave(self, due: float) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(due))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _settle(self) -> None:
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        self.close()

    def close(self) -> None:
        """Close all connections that are free."""
        for connection in self._free:
            connection.close()
        self._free.clear()

    async def _ask(self, due: float) -> None:
        left = time.perf_counter()
        number, self._number = self._number, self._number + 1
        request, asked = self._make(number)
        async with self._gate:
            sent = time.perf_counter()
            reply = await self._exchange(request)
        moments = (moment - self.begun for moment in (due, left, sent, time.perf_counter()))
        self.outcomes.append(Outcome(*moments, reply, asked))

    async def _exchange(self, request: bytes) -> Reply:
        """On a free connection if there is one; who finds it closed since tries once more on a new one.

        A server may close an idle connection at any moment; a client that keeps some must expect it, as every HTTP
        library does (RFC 9110, 9.3.1, for requests that are safe to repeat: here ids make them so).
        """
        while self._free:
            connection = self._free.pop()
            if not connection.open:
                continue
            reply = await connection.ask(request, self._deadline_s)
            if reply.status != LOST or connection.surplus:
                return self._keep(connection, reply)
            self.repeated += 1
            break
        try:
            connection = await Connection.to("127.0.0.1", self._port)
        except OSError:
            return Reply()
        return self._keep(connection, await connection.ask(request, self._deadline_s))

    def _keep(self, connection: Connection, reply: Reply) -> Reply:
        if connection.open:
            self._free.append(connection)
        return reply


class Load:
    """A load that runs beside the test, in a thread with an event loop of its own: `with Load(...) as load:`."""

    def __init__(self, port: int, make: Make, *, rate: float, seconds: float = 3600.0, **options: Any) -> None:
        self._arguments = (port, make)
        self._options = options
        self._rate, self._seconds = rate, seconds
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._generator: Generator | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def _run(self) -> None:
        async def drive() -> None:
            self._generator = Generator(*self._arguments, **self._options)
            self._ready.set()
            await self._generator.open_loop(self._rate, self._seconds, self._stop)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(drive())

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        """Let no more requests leave."""
        self._stop.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and let what is under way be answered."""
        self.stop()
        self._thread.join(120)
        assert not self._thread.is_alive(), "requests were not answered and not refused either"

    @property
    def outcomes(self) -> list[Outcome]:
        """How the requests ended so far."""
        assert self._generator is not None
        return self._generator.outcomes

    @property
    def repeated(self) -> int:
        """Requests that were sent again, since an idle connection had been closed."""
        assert self._generator is not None
        return self._generator.repeated

    def now(self) -> float:
        """Seconds since the load began, on the clock of its outcomes."""
        assert self._generator is not None
        return time.perf_counter() - self._generator.begun

    def figures(self) -> Figures:
        """The load in figures."""
        last = max((o.done for o in self.outcomes), default=0.0)
        return Figures.of(self.outcomes, last)


def measure(port: int, make: Make, *, rate: float, seconds: float, **options: Any) -> tuple[Figures, list[Outcome]]:
    """Load the service for some seconds and wait for the last answer.

    The collector rests meanwhile: among tens of thousands of outcomes it would stop the generator for a third of a second.
    """
    gc.disable()
    try:
        with Load(port, make, rate=rate, seconds=seconds, **options) as load:
            load._thread.join(seconds + 120)
    finally:
        gc.enable()
    return Figures.of(load.outcomes, seconds), load.outcomes


def capacity(port: int, make: Make, *, callers: int = 16, seconds: float = 3.0) -> float:
    """Good answers a second when `callers` ask one request after the other."""

    async def drive() -> float:
        generator = Generator(port, make, connections=callers)
        await generator.closed_loop(callers, seconds)
        return in_time(generator.outcomes, seconds)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(drive())
