"""The routes of MLflow's scoring protocol."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.predict import Endpoints
from serving.protocols.scoring import Scoring


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add `POST /v1/models/{name}/invocations`, and the same below `/versions/{version}` for a version of one's own."""
    scoring = Scoring()

    async def invocations(request: Request) -> Response:
        return await endpoints.speak(request, scoring, request.path_params.get("version"))

    app.add_route("/v1/models/{name}/invocations", invocations, methods=["POST"])
    app.add_route("/v1/models/{name}/versions/{version:int}/invocations", invocations, methods=["POST"])
