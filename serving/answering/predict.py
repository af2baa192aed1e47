"""The predict and feedback routes: raw ASGI endpoints, since validation by pydantic would cost more than the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving.answering.decode import decode_feedback
from serving.answering.talk import Done, NoAnswer, Spend, Talk, as_it_went, encode_answers, ledger_entries, read_body
from serving.answering.writer import LedgerWriter
from serving.door.access import principal_of
from serving.door.admission import Admission, Overloaded
from serving.door.limits import SMALL_BYTES, whole_body
from serving.door.quota import Quota
from serving.models.champions import Champions
from serving.models.model import ServedModel
from serving.problem_details import status_of
from serving.protocols.protocol import Answered, Asked, Protocol, Reply
from serving.releasing.candidate import Outcome
from serving.releasing.live import Live
from serving.releasing.releases import Releases, caller_of
from serving.telemetry.logs import mark, note_model, note_rows
from serving.telemetry.metrics import Metrics
from treadle.errors import NotFound, TreadleError
from treadle.ledger import Counts, Entry, Exchange, Feedback, Journal, Ledger, on_their_way
from treadle.settings import Settings

T = TypeVar("T")
R = TypeVar("R")
FRESH_S = 60.0
"""Ids younger than this may be on their way into the ledger still, when a label comes for them."""
JOURNAL_DEADLINE_S = 3.0
_encode = msgspec.json.Encoder().encode


class Worked(NamedTuple):
    """What a route's work gave: the version that did it, rows or labels, and the response's content."""

    model: ServedModel
    rows: int
    content: bytes


class Endpoints:
    """What the routes need, and the routes."""

    def __init__(
        self,
        settings: Settings,
        champions: Champions,
        writer: LedgerWriter,
        journal: Journal,
        ledger: Ledger,
        metrics: Metrics,
        admission: Admission,
        quota: Quota,
        releases: Releases,
    ) -> None:
        self.settings = settings
        self.champions = champions
        self.writer = writer
        self.journal = journal
        self.ledger = ledger
        self.metrics = metrics
        self.admission = admission
        self.quota = quota
        self.releases = releases

    async def predict(self, request: Request) -> Response:
        """Answer rows with the champion, once they are on their way into the ledger."""
        return await self.counted("predict", request, self._predict)

    async def feedback(self, request: Request) -> Response:
        """Take labels of earlier predictions; all of them or none."""
        return await self.counted("feedback", request, self._feedback)

    async def counted(
        self, route: str, request: Request, work: Callable[[ServedModel, bytes, Request], Awaitable[Worked]]
    ) -> Response:
        """Do the work of a route, and count how it ended."""
        begun = time.perf_counter()
        model = None
        try:
            self.admission.check()
            model = self.champions.get(request.path_params["name"])
            note_model(model.name, model.version)
            async with whole_body(request, self.settings.max_body_bytes, self.admission) as body:
                mark("receive")
                with self.admission.admitted():
                    worked = await work(model, body, request)
        except Exception as error:
            self.failed(model, route, error)
            raise
        note_model(worked.model.name, worked.model.version)
        note_rows(worked.rows)
        self.metrics.answered(worked.model, route, worked.rows, time.perf_counter() - begun)
        return Response(worked.content, media_type="application/json")

    def spend_of(self, request: Request, each: int = 1) -> Spend:
        """Counts rows against the limit of whoever asks, each as so many."""
        return partial(self.quota.take, principal_of(request.scope), each=each)

    async def _predict(self, model: ServedModel, body: bytes, request: Request) -> Worked:
        """Answer a body, and see that the ledger gets it."""

        def read(model: ServedModel) -> Asked:
            return read_body(model, body, self.settings.max_rows)

        def record(answered: Answered, said: bytes) -> Sequence[Entry | Exchange]:
            return as_it_went(answered, body, said) or ledger_entries(answered)

        talk = Talk(read, lambda a: encode_answers(a.model, a.ids, a.values), self.spend_of(request), record)
        done = await self._by_whom(model, len(body), talk, caller_of(request))
        return Worked(done.answered.model, done.answered.asked.count, done.said)

    async def _by_whom(self, model: ServedModel, size: int, talk: Talk[T], caller: bytes) -> Done[T]:
        """Answer by the champion, or by a canary that this caller gets; a canary's failure is the champion's turn."""
        live = self.releases.choose(model.name, caller)
        missed = None
        if live is not None:
            found = await self._by_canary(live, size, talk)
            if isinstance(found, Done):
                return found
            missed = found
        done = await self._at_once_or_in_thread(model, size, lambda: self._by_champion(model, talk))
        await self.keep(done.entries, done.own_ids)
        if live is not None and missed is not None:  # the champion could: so it was not the caller's fault
            live.saw(missed, done.answered.asked.count)
        answered = done.answered
        self.releases.shadow(
            answered.model, lambda: answered.asked.columns, answered.values, answered.ids, done.seconds
        )
        return done

    async def _by_canary(self, live: Live, size: int, talk: Talk[T]) -> Done[T] | Outcome:
        """The candidate's answer, wholly; or how it failed."""
        model = live.candidate.model
        try:
            asked = await self._in_thread_if_large(size, lambda: talk.read(model))
        except TreadleError:  # if the champion reads it, the candidate is to blame
            return Outcome("error")
        talk.spend_once(asked.count)
        outcome = await live.candidate.answer(asked.columns, asked.count)
        mark("infer")
        if outcome.values is None:
            return outcome
        try:
            done = talk.done(model, asked, outcome.values, outcome.seconds)
        except Exception:  # noqa: BLE001 - an answer that cannot be written is none; the champion's turn says whose fault it is
            return Outcome("error")
        await self.keep(done.entries, done.own_ids)
        live.saw(outcome, asked.count)
        return done

    def _by_champion(self, model: ServedModel, talk: Talk[T]) -> Done[T]:
        """The champion's answer; where a new one has none, that of the one before."""
        try:
            return talk.by(model)
        except Exception as error:
            spare = self.champions.spare(model)
            if spare is None or (isinstance(error, TreadleError) and not isinstance(error, NoAnswer)):
                raise
        done = talk.by(spare)
        self.releases.failed(model)
        return done

    async def _in_thread_if_large(self, size: int, work: Callable[[], R]) -> R:
        return self.admission.at_once(work) if size <= SMALL_BYTES else await self.in_thread(work)

    async def _at_once_or_in_thread(self, model: ServedModel, size: int, work: Callable[[], R]) -> R:
        """Small bodies at once; large ones, and those of a model that has left memory, in a thread: they delay nobody."""
        if size <= SMALL_BYTES and model.session.is_open:
            return self.admission.at_once(work)
        return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], R]) -> R:
        """Do a large piece of work beside the loop, with the few others that may be under way."""
        in_context = partial(copy_context().run, work)  # what the thread logs names the request too
        return await asyncio.get_running_loop().run_in_executor(self.admission.threads, in_context)

    async def keep(self, entries: Sequence[Entry | Exchange], own_ids: bool) -> None:
        """Return when the rows will be in the ledger whatever happens; ids of the caller's must be new, so those wait.

        Raises:
            Conflict: An id was answered before.
            Unavailable: They cannot be written.
        """
        if own_ids:
            await self.writer.write(cast("Sequence[Entry]", entries))  # an exchange has no ids of the caller's
        elif self.journal.durable:
            await asyncio.to_thread(self.journal.append, entries)
        else:
            self.journal.append(entries)
        mark("journal")

    async def speak(self, request: Request, protocol: Protocol, version: int | None = None) -> Response:
        """Answer a request of another protocol with the champion, or with a version that the caller names."""
        begun = time.perf_counter()
        model = None
        try:
            self.admission.check()
            model = await self._model(request.path_params["name"], version)
            note_model(model.name, model.version)
            async with whole_body(request, self.settings.max_body_bytes, self.admission) as body:
                mark("receive")
                with self.admission.admitted():
                    answered, said = await self._exchange(model, protocol, body, request, pinned=version is not None)
        except TreadleError as error:
            self.failed(model, protocol.name, error)
            said = protocol.refuse(error, request.url.path)
        else:
            note_model(answered.model.name, answered.model.version)
            note_rows(answered.asked.count)
            self.metrics.answered(answered.model, protocol.name, answered.asked.count, time.perf_counter() - begun)
        return Response(said.content, said.status, dict(said.headers))

    def failed(self, model: ServedModel | None, route: str, error: Exception) -> None:
        """Count a request that was refused, or that failed."""
        self.metrics.failed(model, route, status_of(error))
        if isinstance(error, Overloaded):
            self.metrics.overloaded()

    async def _model(self, name: str, version: int | None) -> ServedModel:
        if version is None:
            return self.champions.get(name)
        return await asyncio.to_thread(self.champions.pinned, name, version)

    async def _exchange(
        self, model: ServedModel, protocol: Protocol, body: bytes, request: Request, *, pinned: bool
    ) -> tuple[Answered, Reply]:
        def read(model: ServedModel) -> Asked:
            return protocol.read(body, request.headers, model, self.settings.max_rows)

        talk = Talk(read, protocol.write, self.spend_of(request))
        # a compressed body may become a large one
        size = SMALL_BYTES + 1 if "content-encoding" in request.headers else len(body)
        if pinned:
            done = await self._at_once_or_in_thread(model, size, lambda: talk.by(model))
            await self.keep(done.entries, done.own_ids)
        else:
            done = await self._by_whom(model, size, talk, caller_of(request))
        return done.answered, done.said

    async def _feedback(self, model: ServedModel, body: bytes, request: Request) -> Worked:
        asked = await asyncio.to_thread(decode_feedback, body, model.manifest, self.settings.max_rows)
        self.spend_of(request)(len(asked.labels))
        early = {label.id for label in asked.labels} if asked.keep_early else set[str]()
        giver = principal_of(request.scope)
        counts = await self._add_feedback(model.name, asked.labels, early, giver.key_id if giver else None)
        said = {"accepted": counts.accepted, "repeated": counts.repeated}
        notes = {name: count for name in ("early", "ahead") if (count := getattr(counts, name))}
        return Worked(model, len(asked.labels), _encode(said | notes))

    async def _add_feedback(
        self, model: str, labels: Sequence[Feedback], early: set[str], key_id: str | None
    ) -> Counts:
        """Store labels; those of answers that are in the journal still wait for them a moment, and then in the ledger."""
        end = time.monotonic() + (JOURNAL_DEADLINE_S if _any_fresh(labels) else 0)
        while True:
            try:
                return await asyncio.to_thread(self.ledger.add_feedback, model, labels, early, key_id)
            except NotFound:
                if time.monotonic() > end:
                    break
            await asyncio.sleep(0.05)
        if _any_fresh(labels):  # the journal may be long, after an outage of the ledger
            ids = {label.id for label in labels}
            early = early | await asyncio.to_thread(on_their_way, self.settings.journal_dir, model, ids)
        return await asyncio.to_thread(self.ledger.add_feedback, model, labels, early, key_id)


def _any_fresh(labels: Sequence[Feedback]) -> bool:
    """Whether an id was made a moment ago; ids of this service begin with their time (RFC 9562, version 7)."""
    newest = f"{time.time_ns() // 1_000_000 - int(FRESH_S * 1000):012x}"
    return any(len(label.id) == 32 and label.id[:12] > newest for label in labels)
