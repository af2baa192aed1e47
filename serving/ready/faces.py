"""People for `search-faces` over HTTP: enrolling them with a note of the consent, listing, forgetting.

Names are in bodies, never in addresses, which proxies write into their logs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI
from multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response

from serving.door.access import asking
from serving.door.limits import whole_body
from serving.problem_details import BadRequest
from serving.ready.body import FORM, JSON, form_parts, from_base64, parsed
from serving.ready.routes import body_bytes, named
from serving.ready.work import Asked, ReadyModels
from treadle.capabilities.face_collection import FaceCollection, check_person
from treadle.capabilities.face_enrolling import DESCRIBE, descriptors_of
from treadle.face_register import FaceRegister

SEARCH = "search-faces"
_encode = msgspec.json.Encoder().encode


class _Enroll(msgspec.Struct, forbid_unknown_fields=True):
    person: str
    consent: str
    pictures: list[str]


class _Forget(msgspec.Struct, forbid_unknown_fields=True):
    person: str


_read_enroll = msgspec.json.Decoder(_Enroll).decode
_read_forget = msgspec.json.Decoder(_Forget).decode


@dataclass(frozen=True)
class _Newcomer:
    person: str
    consent: str
    pictures: list[bytes]


def add(app: FastAPI, ready: ReadyModels, register: FaceRegister) -> None:
    """Add the routes."""
    routes = FaceRoutes(ready, register)
    app.add_route("/v1/ready/faces", routes.list, methods=["GET"])
    app.add_route("/v1/ready/faces/{collection}", routes.people, methods=["GET"])
    app.add_route("/v1/ready/faces/{collection}", routes.enroll, methods=["POST"])
    app.add_route("/v1/ready/faces/{collection}/forget", routes.forget, methods=["POST"])


class FaceRoutes:
    """The routes, with what they need."""

    def __init__(self, ready: ReadyModels, register: FaceRegister) -> None:
        self._ready = ready
        self._register = register

    async def list(self, _request: Request) -> Response:
        """Every collection."""
        return _json({"collections": await asyncio.to_thread(self._register.collections)})

    async def people(self, request: Request) -> Response:
        """Who is in a collection, with what consent."""
        name = request.path_params["collection"]
        return _json({"collection": name, "people": await asyncio.to_thread(self._register.people, name)})

    async def enroll(self, request: Request) -> Response:
        """Have a person's pictures described, and remember the descriptors."""
        collection = request.path_params["collection"]
        newcomer = _read(await self._body(request), request.headers.get("content-type", ""))
        person, consent = check_person(newcomer.person, newcomer.consent)
        FaceCollection(self._ready.settings.ready_dir, collection)  # whether it can have that name
        said = await self._ready.answer(request, SEARCH, Asked(list(newcomer.pictures), dict(DESCRIBE)), "own")
        described = descriptors_of([f"Picture {n}" for n in range(1, len(said.answers) + 1)], said.answers)
        who = asking(request.scope)
        kept = await asyncio.to_thread(
            self._register.enroll, collection, person, described, consent, said.entry.model, who.name, who.key_id
        )
        return _json(named(SEARCH, said.entry) | kept, 201)

    async def forget(self, request: Request) -> Response:
        """Remove all that is known of a person."""
        given = parsed(_read_forget, await self._body(request))
        collection, who = request.path_params["collection"], asking(request.scope)
        gone = await asyncio.to_thread(self._register.forget, collection, given.person, who.name, who.key_id)
        return _json(gone)

    async def _body(self, request: Request) -> bytes:
        self._ready.admission.check()
        async with whole_body(request, body_bytes(self._ready.settings), self._ready.admission) as content:
            return content


def _read(content: bytes, content_type: str) -> _Newcomer:
    """A form with `person`, `consent` and files, or the same as JSON with `pictures` in base64."""
    kind, options = parse_options_header(content_type)
    if kind == JSON:
        given = parsed(_read_enroll, content)
        return _Newcomer(given.person, given.consent, [from_base64(picture) for picture in given.pictures])
    if kind != FORM:
        raise BadRequest(f"Send {FORM} or {JSON}.", 415)
    parts = form_parts(content, str(options.get("boundary", "")))
    texts = {name: value for name, value in parts if isinstance(value, str)}
    if strange := texts.keys() - {"person", "consent"}:
        raise BadRequest(
            f"The form has {len(strange)} fields that nobody knows: it has `person`, `consent` and files.", 400
        )
    files = [value for _, value in parts if isinstance(value, bytes)]
    return _Newcomer(texts.get("person", ""), texts.get("consent", ""), files)


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type=JSON)
