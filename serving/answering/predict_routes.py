"""The route of the own predict: by the request's form it is answered at once, with explanations, or batch by batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.answering import explain
from serving.answering.batch_routes import Batches
from serving.answering.predict import Endpoints, Worked
from serving.answering.talk import Talk, read_body
from serving.door.admission import Overloaded
from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from serving.protocols.arrow import FORMS, media_type
from serving.protocols.protocol import Answered, Asked
from serving.telemetry.logs import mark

MOST_WAITING = 8
"""Explanations that wait for their turn in a worker; more are refused."""


class Turns:
    """Explanations, one after the other: each may take 20 seconds, and the other thread is for large requests of others."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """A turn, once those before are over.

        Raises:
            Overloaded: Too many wait for one, or it does not come in time.
        """
        if self._waiting >= MOST_WAITING:
            raise Overloaded("As many explanations are under way as can be; try again in a second.")
        self._waiting += 1
        try:
            async with asyncio.timeout(explain.DEADLINE_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded("The explanations before this one take too long; try again in a second.") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add `POST /v1/models/{name}/predict`."""
    batches, turns = Batches(endpoints), Turns()

    async def predict(request: Request) -> Response:
        in_batches = media_type(request.headers.get("content-type", "")) in FORMS
        if _wants_explanation(request):
            if in_batches:
                raise BadRequest(
                    "Explanations are for JSON bodies; send the rows that you want explained as JSON.", 415
                )
            return await endpoints.counted("explain", request, explained)
        return await (batches.predict(request) if in_batches else endpoints.predict(request))

    async def explained(model: ServedModel, body: bytes, request: Request) -> Worked:
        def read(model: ServedModel) -> Asked:
            return read_body(model, body, min(explain.MOST_ROWS, endpoints.settings.max_rows))

        talk = Talk(read, write_explained, endpoints.spend_of(request, explain.COUNTS_AS))
        async with turns.next():
            done = await endpoints.in_thread(lambda: talk.by(model))
        await endpoints.keep(done.entries, done.own_ids)
        return Worked(model, done.answered.asked.count, done.said)

    app.add_route("/v1/models/{name}/predict", predict, methods=["POST"])


def _wants_explanation(request: Request) -> bool:
    said = request.query_params.getlist("explain")
    if said not in ([], ["true"], ["false"]):
        raise BadRequest("`explain` must be true or false, once.")
    return said == ["true"]


def write_explained(answered: Answered) -> bytes:
    """An answer, with what each column contributed to it.

    Raises:
        Unavailable: The explanations take too long.
    """
    model = answered.model
    explanations = explain.explain(model, answered.asked.columns, answered.values)
    mark("explain")
    shaped = zip(answered.ids, model.shape_answer(answered.values), explanations, strict=True)
    predictions = [{"id": name, **answer, "explanation": explanation} for name, answer, explanation in shaped]
    return model.prefix + msgspec.json.encode(predictions) + b"}"
