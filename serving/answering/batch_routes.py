"""Predict with Arrow and Parquet bodies: spooled to disk, checked whole, then answered batch by batch.

The rows of a batch are on their way into the ledger before its answers go out; memory holds one batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any, BinaryIO

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.answering.predict import Endpoints
from serving.answering.talk import check_finite, ledger_entries, new_ids
from serving.door.admission import Overloaded
from serving.door.limits import BODY_DEADLINE_S
from serving.models.model import ServedModel
from serving.problem_details import BadRequest, status_of
from serving.protocols import arrow
from serving.protocols.protocol import Answered, Asked
from serving.telemetry.logs import mark, note_model, note_rows
from treadle.ledger import Entry

log = logging.getLogger("treadle.serving")
AT_ONCE = 2
"""Such requests at work at once in a worker: each has a process that reads for it."""
MOST_ON_DISK = 4
"""So many of the largest bodies may lie on a worker's disk, arrived or on their way."""


class Batches:
    """The requests of this kind that are under way."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._at_work = 0
        self._on_disk = 0  # bytes of bodies that are not answered yet

    async def predict(self, request: Request) -> Response:
        """Answer an Arrow or Parquet body with the champion."""
        begun = time.perf_counter()
        model = None
        async with AsyncExitStack() as stack:
            try:
                model = self._endpoints.champions.get(request.path_params["name"])
                note_model(model.name, model.version)
                response = await self._begin(request, model, stack, begun)
            except Exception as error:
                self._endpoints.failed(model, "predict", error)
                raise
            response.stack = stack.pop_all()
        return response

    async def _begin(self, request: Request, model: ServedModel, stack: AsyncExitStack, begun: float) -> _Streaming:
        """Everything up to the first batch, so that whatever is wrong gets its status."""
        settings = self._endpoints.settings
        body_type = arrow.media_type(request.headers.get("content-type", ""))
        form = arrow.answer_form(request.headers.get("accept", ""), body_type)
        arrow.require()
        body = await self._receive(request, stack)
        mark("receive")
        place = stack.enter_context(self._place())
        query = request.query_params
        limits = settings.max_stream_rows, settings.max_stream_bytes
        wanted = arrow.Wanted(arrow.FORMS[body_type], query.get("ids"), query.get("at"), *limits)
        rows, batches = await stack.enter_async_context(arrow.reading(body, model.manifest, wanted))
        mark("decode")
        self._endpoints.spend_of(request)(rows)
        writer = arrow.writer(form, model)
        first = await self._answer(model, writer, await anext(batches), 0)
        rest = self._rest(model, writer, batches, first, begun, place)
        headers = {"x-model-version": str(model.version), "x-model-digest": model.digest}
        return _Streaming(rest, media_type=form, headers=headers)

    async def _receive(self, request: Request, stack: AsyncExitStack) -> BinaryIO | Any:
        """The whole body, on disk; until then it holds no place at work, or slow callers would keep the others out.

        Raises:
            BadRequest: It is larger (413), too slow (408), or cut off (400).
            Overloaded: As many are at work as can be, or too much lies on the disk.
        """
        self._check(self._at_work < AT_ONCE)
        self._endpoints.admission.check()
        settings = self._endpoints.settings
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        body = stack.enter_context(tempfile.TemporaryFile(dir=settings.state_dir))  # noqa: SIM115 - the stack closes it
        arrived: list[int] = []
        stack.callback(lambda: self._forget(sum(arrived)))

        def write(chunk: bytes) -> None:
            self._check(self._on_disk + len(chunk) <= MOST_ON_DISK * settings.max_stream_bytes)
            self._on_disk += len(chunk)
            arrived.append(len(chunk))
            body.write(chunk)

        await _spool(request, settings.max_stream_bytes, write)
        body.flush()
        return body

    def _forget(self, size: int) -> None:
        self._on_disk -= size

    def _place(self) -> ExitStack:
        """A place at work, left when this is closed: at the end of the answer, a moment before its reader's process ends.

        Raises:
            Overloaded: There is none.
        """
        self._check(self._at_work < AT_ONCE)
        place = ExitStack()
        place.enter_context(self._endpoints.admission.admitted())
        self._at_work += 1
        place.callback(self._leave_place)
        return place

    def _leave_place(self) -> None:
        self._at_work -= 1

    def _check(self, is_room: bool) -> None:
        """Refuse what there is no room for.

        Raises:
            Overloaded: There is none.
        """
        if not is_room:
            raise Overloaded("As many large requests are under way as can be; try again in a second.")

    async def _rest(
        self, model: ServedModel, writer: arrow.Writer, batches: AsyncIterator[Asked], first: tuple[int, bytes],
        begun: float, place: ExitStack,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """The answer's content. What fails now, after its head went out, cuts it off, which callers notice."""
        rows, content = first
        metrics = self._endpoints.metrics
        try:
            yield content
            async for asked in batches:
                count, content = await self._answer(model, writer, asked, rows)
                rows += count
                yield content
            place.close()  # before the caller has the whole answer and may ask again
            yield writer.end()
        except Exception as error:
            metrics.failed(model, "predict", status_of(error))
            log.warning("an answer was cut off after %s rows", rows, exc_info=error)
            raise
        note_rows(rows)
        metrics.answered(model, "predict", rows, time.perf_counter() - begun)

    async def _answer(self, model: ServedModel, writer: arrow.Writer, asked: Asked, begin: int) -> tuple[int, bytes]:
        def work() -> tuple[bytes, list[Entry]]:
            values: np.ndarray = model.answer(asked.columns)
            mark("infer")
            check_finite(values, begin)
            answered = Answered(model, values, asked.ids or new_ids(asked.count), asked)
            return writer.batch(answered), ledger_entries(answered)

        content, entries = await self._endpoints.in_thread(work)
        await self._endpoints.keep(entries, asked.ids is not None)
        return asked.count, content


class _Streaming(StreamingResponse):
    """A response that lets go of what it needs when it has ended, however it ended."""

    stack: AsyncExitStack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.stack:
            await super().__call__(scope, receive, send)


async def _spool(request: Request, most: int, write: Callable[[bytes], None]) -> None:
    """Write the body as it arrives.

    Raises:
        BadRequest: It is larger (413), too slow (408), or cut off (400).
    """
    size = 0
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise BadRequest(f"The body is larger than {most:,} bytes; send fewer rows at once.", 413)
                write(chunk)
    except TimeoutError:
        raise BadRequest(f"The body did not arrive within {BODY_DEADLINE_S:.0f} seconds.", 408) from None
    except ClientDisconnect:
        raise BadRequest("The body was cut off.", 400) from None
    if size == 0:
        raise BadRequest("The body is empty.", 400)
