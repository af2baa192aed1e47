"""One request to a ready model: its limits, its turn, its answer, and the line in the ledger that says what it cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from serving.door.access import asking, principal_of
from serving.door.admission import Admission
from serving.door.quota import Quota
from serving.telemetry.logs import mark, note_ready, note_rows
from serving.telemetry.metrics import Metrics
from treadle.capabilities.catalog import Entry
from treadle.capabilities.pool import Answering, Done, Pool
from treadle.errors import TreadleError, Unavailable
from treadle.ledger import ANSWERED, Ledger, ReadyCall, ReadyCalls
from treadle.settings import Settings

Client = Literal["own", "hub", "openai", "job"]
_unpack = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True)
class Asked:
    """A request, read.

    Attributes:
        inputs: Texts, lists of messages, bytes of files, or mappings of these.
        parameters: As the request brought them.
        model: The model that shall answer; `None` for the first that is installed.
        stream: Whether the answer is wanted piece by piece.
    """

    inputs: list[Any]
    parameters: dict[str, Any]
    model: str | None = None
    stream: bool = False


@dataclass(frozen=True)
class Said:
    """An answered request: which model answered, what it took, and the answers as plain values."""

    id: str
    entry: Entry
    done: Done
    answers: list[Any]


@dataclass(frozen=True)
class _Call:
    """A request while it is answered.

    Attributes:
        request: The caller's.
        capability: What is asked.
        asked: Of what, and how.
        client: Whose form the request has.
        begun: When, by the performance counter.
    """

    request: Request
    capability: str
    asked: Asked
    client: Client
    begun: float

    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.begun

    def row(
        self, entry: Entry, outcome: str, cpu_seconds: float, seconds: float, confidence: float | None,
        facts: dict[str, float],
    ) -> ReadyCall:  # fmt: skip
        """Its line in the ledger."""
        who = asking(self.request.scope)
        return ReadyCall(
            self.request.state.request_id, self.capability, entry.model, entry.version, who.key_id, who.name,
            self.client, outcome, len(self.asked.inputs), cpu_seconds, seconds, confidence, facts,
        )  # fmt: skip


class ReadyModels:
    """The ready models of this worker.

    Args:
        settings: The installation.
        ledger: Where calls are written down.
        metrics: The worker's.
        admission: The worker's.
        quota: Limits of keys; an input counts as a row.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, metrics: Metrics, admission: Admission, quota: Quota
    ) -> None:
        self.settings = settings
        self.pool = Pool(settings, 1 / settings.workers)
        self.admission = admission
        self._calls = ReadyCalls(ledger)
        self._metrics = metrics
        self._quota = quota
        self._endings: set[asyncio.Task[Done]] = set()

    def stop(self) -> None:
        """End all models."""
        self.pool.stop()

    def take(self, request: Request, inputs: int) -> None:
        """Count inputs against the limit of whoever asks.

        Raises:
            TooMany: They are not there at the moment.
        """
        self._quota.take(principal_of(request.scope), max(1, inputs))

    async def answer(self, request: Request, capability: str, asked: Asked, client: Client) -> Said:
        """Have a capability answer; the call is in the ledger before this returns.

        Raises:
            TreadleError: There is no answer.
        """
        call = _Call(request, capability, asked, client, time.perf_counter())
        with self.admission.admitted():
            entry, answering = await self._begin(call)
            done = await self._ended(call, entry, answering)
        return Said(request.state.request_id, entry, done, _unpack(done.answers))

    async def stream(
        self, request: Request, capability: str, asked: Asked, client: Client
    ) -> tuple[Entry, AsyncIterator[Any], Callable[[], Done | None]]:
        """Have a capability answer piece by piece.

        Returns:
            The model; the pieces as plain values, begun, so that whatever is wrong with the request was raised; and
            what tells, after the last piece, what it took.

        Raises:
            TreadleError: There is no first piece.
        """
        call = _Call(request, capability, asked, client, time.perf_counter())
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        enough = threading.Event()

        def put(piece: bytes | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        entry, answering = await self._begin(call, put, enough)
        answering.add_done_callback(lambda _: put(None))
        first = await pieces.get()
        if first is None and answering.exception() is not None:
            error = answering.exception()
            if isinstance(error, TreadleError):
                await self._failed(call, entry, error, answering)
            assert error is not None  # noqa: S101 - just looked at
            raise error
        took: list[Done] = []

        async def rest() -> AsyncIterator[Any]:
            piece = first
            try:
                with self.admission.admitted():
                    while piece is not None:
                        yield _unpack(piece)
                        piece = await pieces.get()
            finally:  # a task, since whoever does not listen any more has this one cancelled
                enough.set()
                ending = asyncio.create_task(self._ended(call, entry, answering))
                self._endings.add(ending)
                ending.add_done_callback(self._forget)
            took.append(await ending)

        return entry, rest(), lambda: took[0] if took else None

    def _forget(self, ending: asyncio.Task[Done]) -> None:
        self._endings.discard(ending)
        if not ending.cancelled():
            ending.exception()  # who listened was told; who did not must not be logged as a surprise

    async def _begin(
        self, call: _Call, on_piece: Callable[[bytes], None] | None = None, enough: threading.Event | None = None
    ) -> tuple[Entry, Answering]:
        note_ready(call.capability)
        asked = call.asked
        try:
            self.take(call.request, len(asked.inputs))
            entry, answering = await asyncio.to_thread(
                self.pool.ask, call.capability, asked.inputs, asked.parameters,
                model=asked.model, on_piece=on_piece, enough=enough,
            )  # fmt: skip
        except TreadleError as error:
            self._metrics.ready_failed(call.capability, "", error.status)
            raise
        note_ready(call.capability, entry.model)
        return entry, answering

    async def _ended(self, call: _Call, entry: Entry, answering: Answering) -> Done:
        """What a call came to, once it is counted and in the ledger.

        Raises:
            TreadleError: There is no answer.
        """
        try:
            done = await asyncio.wrap_future(answering)
        except TreadleError as error:
            await self._failed(call, entry, error, answering)
            raise
        mark("infer")
        await self._answered(call, entry, done)
        return done

    async def _answered(self, call: _Call, entry: Entry, done: Done) -> None:
        inputs = len(call.asked.inputs)
        note_rows(inputs)
        await self._keep(call.row(entry, ANSWERED, done.cpu_seconds, done.seconds, done.confidence, done.facts))
        self._metrics.ready_answered(call.capability, entry.model, inputs, call.seconds(), done.cpu_seconds)

    async def _failed(self, call: _Call, entry: Entry, error: TreadleError, answering: Answering) -> None:
        seconds = call.seconds()
        self._metrics.ready_failed(call.capability, entry.model, error.status)
        await self._keep(call.row(entry, error.title, answering.cpu_seconds, seconds, None, {}))

    async def _keep(self, call: ReadyCall) -> None:
        try:
            await asyncio.to_thread(self._calls.add, call)
        except SQLAlchemyError as error:
            raise Unavailable("The ledger does not answer; nothing was answered.") from error
        mark("ledger")
