"""The own API of ready models: what there is, and asking it: `/v1/ready`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.door.limits import whole_body
from serving.problem_details import BadRequest
from serving.ready import body, jobs
from serving.ready.urls import Fetcher
from serving.ready.work import Asked, ReadyModels, Said
from treadle.capabilities import CAPABILITIES, Capability, load_capability
from treadle.capabilities.catalog import Entry, entries_of
from treadle.capabilities.sources import as_it_is_now, is_installed
from treadle.errors import TreadleError
from treadle.settings import Settings

SLACK_BYTES = 1 << 20
EVENTS = "text/event-stream"
_encode = msgspec.json.Encoder().encode


def add(app: FastAPI, ready: ReadyModels) -> None:
    """Add the routes."""
    routes = ReadyRoutes(ready)
    app.add_route("/v1/ready", routes.list, methods=["GET"])
    jobs.add(app, ready)
    app.add_route("/v1/ready/{capability}", routes.one, methods=["GET"])
    app.add_route("/v1/ready/{capability}", routes.ask, methods=["POST"])


class ReadyRoutes:
    """The routes, with what they need."""

    def __init__(self, ready: ReadyModels) -> None:
        self._ready = ready
        self._fetcher = Fetcher.of(ready.settings)

    async def list(self, _request: Request) -> Response:
        """Every capability and its models."""
        rows = await asyncio.to_thread(listing, self._ready.settings)
        loaded = self._ready.pool.loaded()
        return _json({"capabilities": rows, "loaded_mb": loaded})

    async def one(self, request: Request) -> Response:
        """One capability: its models, and the form of its requests and answers."""
        name = request.path_params["capability"]
        capability = load_capability(name)
        rows = await asyncio.to_thread(models_of, name, self._ready.settings)
        return _json({"capability": name, "models": rows} | forms_of(capability))

    async def ask(self, request: Request) -> Response:
        """Have it answer."""
        name = request.path_params["capability"]
        capability = load_capability(name)
        asked = await self._read(request, capability)
        if jobs.is_wanted(request):
            return await jobs.start(request, self._ready, capability, asked)
        if asked.stream or EVENTS in request.headers.get("accept", ""):
            return await self._stream(request, capability, asked)
        said = await self._ready.answer(request, name, asked, "own")
        return _json(as_answer(name, said))

    async def _read(self, request: Request, capability: Capability) -> Asked:
        self._ready.admission.check()
        async with whole_body(request, body_bytes(self._ready.settings), self._ready.admission) as content:
            return await asyncio.to_thread(
                body.read, content, request.headers.get("content-type", ""), request.query_params, capability,
                self._fetcher.fetch,
            )  # fmt: skip

    async def _stream(self, request: Request, capability: Capability, asked: Asked) -> Response:
        if capability.Piece is None:
            raise BadRequest(f"{capability.name} does not stream; ask without.", 406)
        if len(asked.inputs) != 1:
            raise BadRequest("A stream answers one input.")
        entry, pieces, took = await self._ready.stream(request, capability.name, asked, "own")

        async def events() -> AsyncIterator[bytes]:
            try:
                async for piece in pieces:
                    yield event("piece", piece)
            except TreadleError as error:
                yield event("error", {"title": error.title, "detail": str(error)})
                return
            done = took()
            cost = {} if done is None else {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds}
            yield event("done", named(capability.name, entry) | cost)

        return StreamingResponse(events(), media_type=EVENTS)


def body_bytes(settings: Settings) -> int:
    """The largest body of a request: a largest file, in base64, and a little besides."""
    return settings.ready_upload_bytes * 4 // 3 + SLACK_BYTES


def as_answer(capability: str, said: Said) -> dict[str, Any]:
    """An answer of the own API."""
    cost = {"seconds": said.done.seconds, "cpu_seconds": said.done.cpu_seconds}
    return {"id": said.id} | named(capability, said.entry) | {"answers": said.answers} | cost


def named(capability: str, entry: Entry) -> dict[str, Any]:
    """What every answer says of the model that gave it."""
    said = {"capability": capability, "model": entry.model, "version": entry.version, "licence": entry.licence}
    return said | {"source": entry.source.kind, "weak": entry.weak, "research_only": entry.research_only}


def listing(settings: Settings) -> list[dict[str, Any]]:
    """All capabilities, with their models in the order in which they are tried."""
    return [{"capability": name, "models": models_of(name, settings)} for name in CAPABILITIES]


def models_of(capability: str, settings: Settings) -> list[dict[str, Any]]:
    """The models for a capability, and whether they are here."""
    return [
        entry.model_dump(mode="json", exclude={"capability", "default", "digest"})
        | {"installed": is_installed(entry, settings)}
        for entry in (as_it_is_now(entry, settings) for entry in entries_of(capability, settings))
    ]


def forms_of(capability: Capability) -> dict[str, Any]:
    """What a capability takes and gives, as JSON Schema, and parameters that work."""
    return {
        "takes": capability.takes if isinstance(capability.takes, str) else dict(capability.takes),
        "streams": capability.Piece is not None,
        "hub_task": capability.hub_task,
        "parameters": msgspec.json.schema(capability.Parameters),
        "answer": msgspec.json.schema(capability.Answer),
        "example": dict(capability.example),
    }


def event(name: str, value: Any) -> bytes:
    """One server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(value))


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type="application/json")
