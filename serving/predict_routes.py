"""The route of the own predict: by the request's form it is answered at once or batch by batch."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.batch_routes import Batches
from serving.predict import Endpoints
from serving.protocols.arrow import FORMS, media_type


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add `POST /v1/models/{name}/predict`."""
    batches = Batches(endpoints)

    async def predict(request: Request) -> Response:
        if media_type(request.headers.get("content-type", "")) in FORMS:
            return await batches.predict(request)
        return await endpoints.predict(request)

    app.add_route("/v1/models/{name}/predict", predict, methods=["POST"])
