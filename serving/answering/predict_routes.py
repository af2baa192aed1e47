"""The route of the own predict: by the request's form it is answered at once, with explanations, or batch by batch."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.answering import explain
from serving.answering.batch_routes import Batches
from serving.answering.predict import Endpoints, Worked
from serving.answering.talk import Talk, read_body
from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from serving.protocols.arrow import FORMS, media_type
from serving.protocols.protocol import Answered, Asked
from serving.telemetry.logs import mark


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add `POST /v1/models/{name}/predict`."""
    batches = Batches(endpoints)

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

        talk = Talk(read, write_explained, endpoints.spend_of(request))
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
