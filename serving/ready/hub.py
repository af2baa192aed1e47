"""`huggingface_hub.InferenceClient` as it is: `InferenceClient(model="http://…/v1/ready/detect-objects/hf")`.

The client sends JSON `{inputs, parameters}`, or the bytes of a file alone, and wants the answer in the form of its task;
each capability says how its own look there (`from_hub`, `to_hub`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import FastAPI
from multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.door.limits import whole_body
from serving.problem_details import BadRequest
from serving.ready.body import JSON, from_base64
from serving.ready.routes import EVENTS, body_bytes
from serving.ready.work import Asked, ReadyModels
from treadle.capabilities import Capability, load_capability
from treadle.capabilities.limits import BadInput
from treadle.capabilities.protocol import MEDIA
from treadle.errors import TreadleError

_encode = msgspec.json.Encoder().encode
_read_json = msgspec.json.Decoder(dict[str, Any]).decode
KNOWN = ("inputs", "parameters", "stream")


def add(app: FastAPI, ready: ReadyModels) -> None:
    """Add the route."""

    async def ask(request: Request) -> Response:
        capability = load_capability(request.path_params["capability"])
        if capability.hub_task is None:
            raise BadRequest(
                f"InferenceClient has no task for {capability.name}; ask /v1/ready/{capability.name}.", 406
            )
        ready.admission.check()
        async with whole_body(request, body_bytes(ready.settings), ready.admission) as content:
            kind, _ = parse_options_header(request.headers.get("content-type", ""))
            asked, inputs = await asyncio.to_thread(read, content, kind, capability)
        if asked.stream:
            return await _stream(request, ready, capability, asked)
        said = await ready.answer(request, capability.name, asked, "hub")
        headers = {"x-model": said.entry.model, "x-model-version": said.entry.version, "x-licence": said.entry.licence}
        return Response(_encode(capability.to_hub(said.answers, inputs)), media_type=JSON, headers=headers)

    app.add_route("/v1/ready/{capability}/hf", ask, methods=["POST"])


def read(content: bytes, kind: str, capability: Capability) -> tuple[Asked, Any]:
    """A request, and its inputs as they came.

    Raises:
        BadRequest: It is not JSON where it says so.
        BadInput: An input is of the wrong kind.
    """
    takes_file = capability.takes in MEDIA
    if takes_file and kind != JSON:
        return Asked([content], {}), None
    try:
        body = _read_json(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("The body is not a JSON object in UTF-8.", 400) from None
    given = body.get("inputs")
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest("`parameters` must be an object.", 400)
    # feature_extraction puts its parameters beside the inputs
    parameters = {
        k: v for k, v in ({k: v for k, v in body.items() if k not in KNOWN} | parameters).items() if v is not None
    }
    if takes_file:
        if not isinstance(given, str):
            raise BadInput("`inputs` must be a file in base64.")
        given = from_base64(given)
    inputs, ours = capability.from_hub(given, parameters)
    return Asked(inputs, ours, stream=body.get("stream") is True), given


async def _stream(request: Request, ready: ReadyModels, capability: Capability, asked: Asked) -> Response:
    """`text_generation(stream=True)`: one token a line."""
    if capability.Piece is None:
        raise BadRequest(f"{capability.name} does not stream.", 406)
    _, pieces, _ = await ready.stream(request, capability.name, asked, "hub")

    async def lines() -> AsyncIterator[bytes]:
        number, whole = 0, ""
        try:
            async for piece in pieces:
                if piece["text"]:  # the last piece has none, only what the answer took
                    whole += piece["text"]
                    yield _line(number, piece["text"], None)
                    number += 1
        except TreadleError as error:
            yield b"data:%b\n\n" % _encode({"error": str(error), "error_type": error.title})
            return
        yield _line(number, "", whole)

    return StreamingResponse(lines(), media_type=EVENTS)


def _line(number: int, text: str, whole: str | None) -> bytes:
    token = {"id": number, "text": text, "logprob": None, "special": whole is not None}
    return b"data:%b\n\n" % _encode({"index": number, "token": token, "generated_text": whole, "details": None})
