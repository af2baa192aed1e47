"""The route of the own predict: by the request's form it is answered at once, with explanations, or batch by batch."""

from __future__ import annotations

from functools import partial

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving import explain
from serving.batch_routes import Batches
from serving.model import ServedModel
from serving.predict import Endpoints, Spend, answer_rows, ledger_entries
from serving.problem_details import BadRequest
from serving.protocols.arrow import FORMS, media_type
from treadle.ledger import Entry


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

    async def explained(model: ServedModel, body: bytes, spend: Spend) -> tuple[int, bytes]:
        most = min(explain.MOST_ROWS, endpoints.settings.max_rows)
        entries, own_ids, content = await endpoints.in_thread(partial(answer_explained, model, body, most, spend))
        await endpoints.keep(entries, own_ids)
        return len(entries), content

    app.add_route("/v1/models/{name}/predict", predict, methods=["POST"])


def _wants_explanation(request: Request) -> bool:
    said = request.query_params.get("explain", "false")
    if said not in ("true", "false"):
        raise BadRequest("`explain` must be true or false.")
    return said == "true"


def answer_explained(model: ServedModel, body: bytes, max_rows: int, spend: Spend) -> tuple[list[Entry], bool, bytes]:
    """Answer one request body, with what each column contributed.

    Returns:
        The rows for the ledger, whether the caller chose their ids, and the response's content.

    Raises:
        BadRequest: Something of the body is wrong, or it has more rows than are explained at once.
        TooMany: The caller may not send so many rows now.
        Unavailable: The explanations take too long.
    """
    answered = answer_rows(model, body, max_rows, spend)
    explanations = explain.explain(model, answered.asked.columns, answered.values)
    shaped = zip(answered.ids, model.shape_answer(answered.values), explanations, strict=True)
    predictions = [{"id": name, **answer, "explanation": explanation} for name, answer, explanation in shaped]
    content = model.prefix + msgspec.json.encode(predictions) + b"}"
    return ledger_entries(answered), answered.asked.ids is not None, content
