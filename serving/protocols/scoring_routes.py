"""The routes of MLflow's scoring protocol."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.answering.predict import Endpoints
from serving.protocols.scoring import Scoring
from serving.protocols.v2_routes import version_of
from treadle.errors import NotFound


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add `POST /v1/models/{name}/invocations`, and the same below `/versions/{version}` for a version of one's own."""
    scoring = Scoring()

    async def invocations(request: Request) -> Response:
        try:
            version = version_of(request)
        except NotFound as error:
            said = scoring.refuse(error, request.url.path)
            return Response(said.content, said.status, dict(said.headers))
        return await endpoints.speak(request, scoring, version)

    app.add_route("/v1/models/{name}/invocations", invocations, methods=["POST"])
    app.add_route("/v1/models/{name}/versions/{version}/invocations", invocations, methods=["POST"])
