"""The predict and feedback routes: raw ASGI endpoints, since validation by pydantic would cost more than the model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from serving.champions import Champions
from serving.decode import decode_feedback, decode_predict, event_times, refuse_repeated_keys, rows_of, to_columns
from serving.limits import read_body
from serving.metrics import Metrics
from serving.model import ServedModel
from serving.problem_details import BadRequest, status_of
from serving.protocols.protocol import Answered, Protocol, Reply
from serving.writer import LedgerWriter
from treadle.errors import TreadleError
from treadle.ledger import Ledger, Prediction
from treadle.settings import Settings

# Larger bodies are answered in a thread, so that they hold up nobody. Measured for one row: without a thread one caller
# gets 10 to 20 % more requests a second, eight callers 20 % fewer; the lone caller's latency was preferred.
INLINE_BYTES = 12_800
_encode = msgspec.json.Encoder().encode


class Endpoints:
    """What the routes need, and the routes."""

    def __init__(
        self, settings: Settings, champions: Champions, writer: LedgerWriter, ledger: Ledger, metrics: Metrics
    ) -> None:
        self.settings = settings
        self.champions = champions
        self.writer = writer
        self.ledger = ledger
        self.metrics = metrics

    async def predict(self, request: Request) -> Response:
        """Answer rows with the champion, once they are in the ledger."""
        return await self._counted("predict", request, self._predict)

    async def feedback(self, request: Request) -> Response:
        """Take labels of earlier predictions; all of them or none."""
        return await self._counted("feedback", request, self._feedback)

    async def _counted(
        self, route: str, request: Request, work: Callable[[ServedModel, bytes], Awaitable[tuple[int, bytes]]]
    ) -> Response:
        """Do the work of a route, and count how it ended."""
        begun = time.perf_counter()
        model = None
        try:
            model = self.champions.get(request.path_params["name"])
            rows, content = await work(model, await read_body(request, self.settings.max_body_bytes))
        except Exception as error:
            self.metrics.failed(model, route, status_of(error))
            raise
        self.metrics.answered(model, route, rows, time.perf_counter() - begun)
        return Response(content, media_type="application/json")

    async def _predict(self, model: ServedModel, body: bytes) -> tuple[int, bytes]:
        """Small bodies at once, large ones in a thread, so that they delay nobody else."""
        if len(body) < INLINE_BYTES:
            rows, content = answer_body(model, body, self.settings.max_rows)
        else:
            rows, content = await asyncio.to_thread(answer_body, model, body, self.settings.max_rows)
        await self.writer.write(rows)
        return len(rows), content

    async def speak(self, request: Request, protocol: Protocol, version: int | None = None) -> Response:
        """Answer a request of another protocol with the champion, or with a version that the caller names."""
        try:
            return await self._spoken(request, protocol, version)
        except TreadleError as error:
            self.metrics.failed(None, protocol.name, status_of(error))
            said = protocol.refuse(error, request.url.path)
            return Response(said.content, said.status, dict(said.headers))

    async def _spoken(self, request: Request, protocol: Protocol, version: int | None) -> Response:
        begun = time.perf_counter()
        model = await asyncio.to_thread(self.champions.pinned, request.path_params["name"], version)
        body = await read_body(request, self.settings.max_body_bytes)
        answered, said = await asyncio.to_thread(self._exchange, model, protocol, body, request.headers)
        await self.writer.write(ledger_rows(answered))
        self.metrics.answered(model, protocol.name, answered.asked.count, time.perf_counter() - begun)
        return Response(said.content, said.status, dict(said.headers))

    def _exchange(
        self, model: ServedModel, protocol: Protocol, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Answered, Reply]:
        asked = protocol.read(body, headers, model, self.settings.max_rows)
        values = model.answer(asked.columns)
        _check_finite(values)
        answered = Answered(model, values, asked.ids or new_ids(asked.count), asked)
        return answered, protocol.write(answered)

    async def _feedback(self, model: ServedModel, body: bytes) -> tuple[int, bytes]:
        labels = await asyncio.to_thread(decode_feedback, body, model.manifest, self.settings.max_rows)
        counts = await asyncio.to_thread(self.ledger.add_feedback, model.name, labels)
        return len(labels), _encode({"accepted": counts.accepted, "repeated": counts.repeated})


def answer_body(model: ServedModel, body: bytes, max_rows: int) -> tuple[list[Prediction], bytes]:
    """Answer one request body wholly by one version.

    Returns:
        The rows for the ledger, and the response's content.

    Raises:
        BadRequest: Something of the body is wrong.
    """
    request = decode_predict(body, max_rows)
    columns = to_columns(request.rows, model.manifest)
    refuse_repeated_keys(body, request)
    times = event_times(request.at, len(request.rows))
    answer = model.answer(columns)
    _check_finite(answer)
    answers = model.shape_answer(answer)
    ids = request.ids or new_ids(len(answers))
    rows = _ledger_rows(model, ids, times, request.rows, answers)
    predictions = [{"id": name, **answer} for name, answer in zip(ids, answers, strict=True)]
    content = {"model": model.name, "version": model.version, "digest": model.digest, "predictions": predictions}
    return rows, _encode(content)


def _check_finite(answer: np.ndarray) -> None:
    """Refuse what the model has no answer to, such as 1e300 where it learned from -20 to 40."""
    finite = np.isfinite(answer)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise BadRequest(f"The model has no finite answer to row {row}; are its numbers in the right unit?", row=row)


def new_ids(count: int) -> list[str]:
    """Identifiers that sort by time (RFC 9562 UUIDs, version 7, as hex): they append to the ledger's index.

    >>> [len(name) for name in new_ids(2)]
    [32, 32]
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(10 * count).hex()
    ids = []
    for begin in range(0, 20 * count, 20):
        variant = "89ab"[int(noise[begin + 3], 16) & 3]
        ids.append(f"{moment}7{noise[begin : begin + 3]}{variant}{noise[begin + 4 : begin + 19]}")
    return ids


def ledger_rows(answered: Answered) -> list[Prediction]:
    """An answer as the ledger keeps it."""
    model, asked = answered.model, answered.asked
    rows = rows_of(asked.columns, model.manifest) if asked.rows is None else asked.rows
    times = asked.at or [datetime.now(UTC)] * asked.count
    return _ledger_rows(model, answered.ids, times, rows, model.shape_answer(answered.values))


def _ledger_rows(
    model: ServedModel,
    ids: Sequence[str],
    times: Sequence[datetime],
    rows: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
) -> list[Prediction]:
    return [
        Prediction(name, model.name, model.version, at, _encode(row).decode(), _encode(answer).decode())
        for name, at, row, answer in zip(ids, times, rows, answers, strict=True)
    ]
