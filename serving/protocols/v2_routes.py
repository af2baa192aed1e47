"""The routes of the Open Inference Protocol: what server and models say of themselves, whether they answer, and infer.

Plain Starlette routes, as `predict` is; those that may read the ledger or open a version run in a thread.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from serving.answering.predict import Endpoints
from serving.door.access import asking, principal_of
from serving.door.limits import whole_body
from serving.problem_details import BadRequest, v2_error
from serving.protocols.v2 import EXTENSIONS, OpenInference, metadata_of
from treadle import __version__
from treadle.errors import NotFound, Unavailable

INDEX_BYTES = 1_000


def add(app: FastAPI, endpoints: Endpoints) -> None:
    """Add the protocol to the service."""
    routes = V2Routes(endpoints)
    gets = {"": routes.server, "/": routes.server, "/health/live": routes.live, "/health/ready": routes.ready}
    for path, route in gets.items():
        app.add_route(f"/v2{path}", route, methods=["GET"])
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.add_route(model, routes.model, methods=["GET"])
        app.add_route(f"{model}/ready", routes.model_ready, methods=["GET"])
        app.add_route(f"{model}/infer", routes.infer, methods=["POST"])
    app.add_route("/v2/repository/index", routes.index, methods=["POST"])


class V2Routes:
    """The routes, with what they need."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._champions = endpoints.champions
        self._protocol = OpenInference(endpoints.settings.max_body_bytes)

    async def server(self, _request: Request) -> Response:
        """Name, version and extensions."""
        return _json({"name": "treadle", "version": __version__, "extensions": EXTENSIONS})

    async def live(self, _request: Request) -> Response:
        """Whether the process lives."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model that has a champion answers; `/readyz` is about the service alone."""
        if self._endpoints.admission.draining:
            return v2_error(503, "The service is ending.")
        silent = self._silent()
        if not silent:
            return _json({"live": True, "ready": True})
        who = principal_of(request.scope)
        names = ", ".join(sorted(name for name in silent if who is not None and who.sees(name)))
        return v2_error(503, f"No version of some models answers{f': {names}' if names else ''}.")

    def _silent(self) -> dict[str, str]:
        """Why a model that has a champion does not answer at all."""
        models = self._champions.models
        return {name: why for name, why in self._champions.troubles.items() if name not in models and name != "ledger"}

    def model(self, request: Request) -> Response:
        """Inputs, outputs and versions of a model."""
        name = request.path_params["name"]
        model = self._champions.pinned(name, version_of(request))
        try:
            versions = [version.version for version in self._endpoints.ledger.versions(name)]
        except (SQLAlchemyError, Unavailable):  # what is served goes on being served
            versions = [model.version]
        return _json(metadata_of(model, versions))

    def model_ready(self, request: Request) -> Response:
        """Whether a model, or the version that is named, answers."""
        model = self._champions.pinned(request.path_params["name"], version_of(request))
        return _json({"name": model.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Answer with the champion, or with the version that is named."""
        return await self._endpoints.speak(request, self._protocol, version_of(request))

    async def index(self, request: Request) -> Response:
        """Every model, and whether it answers; with `{"ready": true}` those that do."""
        try:
            async with whole_body(request, INDEX_BYTES, self._endpoints.admission) as body:
                wanted = msgspec.json.decode(body or b"{}", type=IndexRequest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadRequest('The body is not {"ready": true or false}.', 400) from None
        models = [
            {"name": name, "version": str(model.version), "state": "READY", "reason": ""}
            for name, model in sorted(self._champions.models.items())
        ]
        silent = [{"name": name, "state": "UNAVAILABLE", "reason": why} for name, why in sorted(self._silent().items())]
        who = asking(request.scope)
        listed = models if wanted.ready else models + silent
        return _json([model for model in listed if who.sees(model["name"])])


class IndexRequest(msgspec.Struct):
    """Which models an index is asked for."""

    ready: bool = False


def version_of(request: Request) -> int | None:
    """The version that the path names, if it names one.

    Raises:
        NotFound: It is not a number.
    """
    said = request.path_params.get("version")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 9):
        raise NotFound("Versions are whole numbers; the model's metadata lists them.")
    return int(said)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
