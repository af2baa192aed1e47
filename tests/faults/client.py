"""An open-loop load generator: requests leave by a schedule, whether or not the service keeps up.

A latency counts from the moment when the request was due, not from when a connection was free for it, so a stall is seen
by everyone who would have met it (no coordinated omission). Plain asyncio with httptools, on keep-alive connections.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

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
