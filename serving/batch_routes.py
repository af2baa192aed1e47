"""Predict with Arrow and Parquet bodies: spooled to disk, checked whole, then answered batch by batch.

The rows of a batch are on their way into the ledger before its answers go out; memory holds one batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, BinaryIO

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.admission import Overloaded
from serving.limits import BODY_DEADLINE_S
from serving.logs import mark, note_model, note_rows
from serving.model import ServedModel
from serving.predict import Endpoints, check_finite, ledger_entries, new_ids
from serving.problem_details import BadRequest, status_of
from serving.protocols import arrow
from serving.protocols.protocol import Answered, Asked
from treadle.ledger import Entry

log = logging.getLogger("treadle.serving")
AT_ONCE = 2
"""Such requests under way at once in a worker: each has a process that reads for it."""


class Batches:
    """The requests of this kind that are under way."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._under_way = 0

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
                self._endpoints.metrics.failed(model, "predict", status_of(error))
                raise
            response.stack = stack.pop_all()
        return response

    async def _begin(self, request: Request, model: ServedModel, stack: AsyncExitStack, begun: float) -> _Streaming:
        """Everything up to the first batch, so that whatever is wrong gets its status."""
        settings = self._endpoints.settings
        body_type = arrow.media_type(request.headers.get("content-type", ""))
        form = arrow.answer_form(request.headers.get("accept", ""), body_type)
        arrow.require()
        self._take_place(stack)
        stack.enter_context(self._endpoints.admission.admitted())
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        body = stack.enter_context(tempfile.TemporaryFile(dir=settings.state_dir))  # noqa: SIM115 - the stack closes it
        await _spool(request, body, settings.max_stream_bytes)
        mark("receive")
        query = request.query_params
        wanted = arrow.Wanted(arrow.FORMS[body_type], query.get("ids"), query.get("at"), settings.max_stream_rows)
        rows, batches = await stack.enter_async_context(arrow.reading(body, model.manifest, wanted))
        mark("decode")
        self._endpoints.spend_of(request)(rows)
        writer = arrow.writer(form, model)
        first = await self._answer(model, writer, await anext(batches), 0)
        rest = self._rest(model, writer, batches, first, begun)
        headers = {"x-model-version": str(model.version), "x-model-digest": model.digest}
        return _Streaming(rest, media_type=form, headers=headers)

    def _take_place(self, stack: AsyncExitStack) -> None:
        if self._under_way >= AT_ONCE:
            raise Overloaded("As many large requests are under way as can be; try again in a second.")
        self._under_way += 1
        stack.callback(self._leave_place)

    def _leave_place(self) -> None:
        self._under_way -= 1

    async def _rest(
        self, model: ServedModel, writer: arrow.Writer, batches: AsyncIterator[Asked], first: tuple[int, bytes],
        begun: float,
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


async def _spool(request: Request, body: BinaryIO | Any, most: int) -> None:
    """Write the body to disk as it arrives.

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
                body.write(chunk)
    except TimeoutError:
        raise BadRequest(f"The body did not arrive within {BODY_DEADLINE_S:.0f} seconds.", 408) from None
    except ClientDisconnect:
        raise BadRequest("The body was cut off.", 400) from None
    if size == 0:
        raise BadRequest("The body is empty.", 400)
    body.flush()
