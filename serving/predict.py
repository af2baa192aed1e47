"""The predict and feedback routes: raw ASGI endpoints, since validation by pydantic would cost more than the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving.champions import Champions
from serving.decode import decode_feedback, decode_predict, event_times, to_columns
from serving.limits import read_body
from serving.metrics import Metrics
from serving.model import ServedModel
from serving.problem_details import BadRequest
from serving.writer import LedgerWriter
from treadle.errors import TreadleError
from treadle.ledger import Ledger, Prediction
from treadle.settings import Settings

INLINE_ROWS = 64  # more rows than this are decoded and answered off the event loop
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
        name = request.path_params["name"]
        begun = time.perf_counter()
        try:
            model = self.champions.get(name)
            body = await read_body(request, self.settings.max_body_bytes)
            rows, content = await self._answer(model, body)
            await self.writer.write(rows)
        except TreadleError as error:
            known = name if name in self.champions.models else "unknown"
            self.metrics.requests.labels(known, "", "predict", error.status).inc()
            raise
        self._count(model, "predict", len(rows), time.perf_counter() - begun)
        return Response(content, media_type="application/json")

    async def _answer(self, model: ServedModel, body: bytes) -> tuple[list[Prediction], bytes]:
        """Small bodies at once, large ones in a thread, so that they delay nobody else."""
        if len(body) < 200 * INLINE_ROWS:
            return answer_body(model, body, self.settings.max_rows)
        return await asyncio.to_thread(answer_body, model, body, self.settings.max_rows)

    def _count(self, model: ServedModel, route: str, rows: int, seconds: float) -> None:
        self.metrics.requests.labels(model.name, model.version, route, 200).inc()
        self.metrics.rows.labels(model.name, model.version).inc(rows)
        self.metrics.seconds.labels(model.name).observe(seconds)

    async def feedback(self, request: Request) -> Response:
        """Take labels of earlier predictions; all of them or none."""
        model = self.champions.get(request.path_params["name"])
        body = await read_body(request, self.settings.max_body_bytes)
        labels = await asyncio.to_thread(decode_feedback, body, model.manifest, self.settings.max_rows)
        counts = await asyncio.to_thread(self.ledger.add_feedback, model.name, labels)
        self.metrics.requests.labels(model.name, model.version, "feedback", 200).inc()
        return Response(
            _encode({"accepted": counts.accepted, "repeated": counts.repeated}), media_type="application/json"
        )


def answer_body(model: ServedModel, body: bytes, max_rows: int) -> tuple[list[Prediction], bytes]:
    """Answer one request body wholly by one version.

    Returns:
        The rows for the ledger, and the response's content.

    Raises:
        BadRequest: Something of the body is wrong.
    """
    request = decode_predict(body, max_rows)
    columns = to_columns(request.rows, model.manifest)
    times = event_times(request.at, len(request.rows))
    answers = model.shape_answer(model.answer(columns))
    ids = request.ids or [uuid4().hex for _ in answers]
    rows = _ledger_rows(model, ids, times, request.rows, answers)
    predictions = [{"id": name, **answer} for name, answer in zip(ids, answers, strict=True)]
    content = {"model": model.name, "version": model.version, "digest": model.digest, "predictions": predictions}
    try:
        return rows, _encode(content)
    except UnicodeEncodeError:
        raise BadRequest("An id holds half a character (a lone surrogate).") from None


def _ledger_rows(
    model: ServedModel,
    ids: Sequence[str],
    times: Sequence[datetime],
    rows: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
) -> list[Prediction]:
    try:
        return [
            Prediction(name, model.name, model.version, at, _encode(row).decode(), _encode(answer).decode())
            for name, at, row, answer in zip(ids, times, rows, answers, strict=True)
        ]
    except UnicodeEncodeError:
        raise BadRequest("A text value holds half a character (a lone surrogate).") from None
