"""The clients of OpenAI as they are: `OpenAI(base_url="http://…/openai/v1")`: models, embeddings, chat, transcriptions.

What a request asks for and we cannot do is refused, never ignored; what changes nothing (`user`, `store` …) is let be.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
from fastapi import FastAPI
from multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.door.limits import whole_body
from serving.problem_details import BadRequest
from serving.ready import captions
from serving.ready.body import FORM, JSON, form_parts, parsed
from serving.ready.routes import EVENTS, body_bytes
from serving.ready.work import Asked, ReadyModels, Said
from treadle.capabilities import CAPABILITIES
from treadle.capabilities.catalog import Entry, entries_of
from treadle.capabilities.sources import is_installed
from treadle.errors import NotFound, TreadleError
from treadle.settings import Settings

SPOKEN = ("generate-text", "embed-text", "transcribe")
DEFAULTS = ("default", "dummy")
"""Model names that mean whichever is installed; the second is what InferenceClient sends."""
_encode = msgspec.json.Encoder().encode


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Chat(msgspec.Struct):
    messages: list[_Message]
    model: str = "default"
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


class _Embeddings(msgspec.Struct):
    input: str | list[str]
    model: str = "default"
    encoding_format: str = "float"
    dimensions: int | None = None


_read_chat = msgspec.json.Decoder(_Chat).decode
_read_embeddings = msgspec.json.Decoder(_Embeddings).decode


def add(app: FastAPI, ready: ReadyModels) -> None:
    """Add the routes."""
    routes = OpenAIRoutes(ready)
    app.add_route("/openai/v1/models", routes.models, methods=["GET"])
    app.add_route("/openai/v1/models/{model}", routes.model, methods=["GET"])
    app.add_route("/openai/v1/embeddings", routes.embeddings, methods=["POST"])
    app.add_route("/openai/v1/chat/completions", routes.chat, methods=["POST"])
    app.add_route("/openai/v1/audio/transcriptions", routes.transcriptions, methods=["POST"])


class OpenAIRoutes:
    """The routes, with what they need."""

    def __init__(self, ready: ReadyModels) -> None:
        self._ready = ready

    async def models(self, _request: Request) -> Response:
        """The models that can be asked here."""
        found = await asyncio.to_thread(_installed, self._ready.settings)
        return _json({"object": "list", "data": [_model(entry) for entry in found.values()]})

    async def model(self, request: Request) -> Response:
        """One of them."""
        found = await asyncio.to_thread(_installed, self._ready.settings)
        name = request.path_params["model"]
        if name not in found:
            raise NotFound("No model of that name is installed; `client.models.list()` lists them.")
        return _json(_model(found[name]))

    async def embeddings(self, request: Request) -> Response:
        """Vectors of texts."""
        asked = parsed(_read_embeddings, await self._body(request))
        if asked.encoding_format not in ("float", "base64"):
            raise BadRequest("encoding_format must be float or base64.", 400)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        said = await self._ready.answer(
            request, "embed-text", Asked(texts, {}, _named(asked.model, "embed-text")), "openai"
        )
        width = len(said.answers[0]["embedding"])
        if asked.dimensions not in (None, width):
            raise BadRequest(f"{said.entry.model} has {width} dimensions and no others.", 400)
        rows = [
            {"object": "embedding", "index": number, "embedding": _vector(answer["embedding"], asked.encoding_format)}
            for number, answer in enumerate(said.answers)
        ]
        tokens = sum(answer["tokens"] for answer in said.answers)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "data": rows, "model": said.entry.model, "usage": usage})

    async def chat(self, request: Request) -> Response:
        """A message that follows others."""
        chat = parsed(_read_chat, await self._body(request))
        asked = _chat_request(chat)
        if chat.stream:
            return await self._chat_stream(request, asked, chat)
        said = await self._ready.answer(request, "generate-text", asked, "openai")
        answer = said.answers[0]
        message = {"role": "assistant", "content": answer["text"]}
        choice = {"index": 0, "message": message, "finish_reason": answer["finish"], "logprobs": None}
        usage = _usage(answer["tokens_in"], answer["tokens_out"])
        return _json(_completion(said.id, said.entry, "chat.completion") | {"choices": [choice], "usage": usage})

    async def _chat_stream(self, request: Request, asked: Asked, chat: _Chat) -> Response:
        entry, pieces, _ = await self._ready.stream(request, "generate-text", asked, "openai")
        head = _completion(request.state.request_id, entry, "chat.completion.chunk")

        async def lines() -> AsyncIterator[bytes]:
            yield _chunk(head, {"role": "assistant", "content": ""}, None)
            finish, usage = "stop", None
            try:
                async for piece in pieces:
                    finish = piece.get("finish") or finish
                    usage = _usage(piece["tokens_in"], piece["tokens_out"]) if piece.get("finish") else usage
                    if piece["text"]:
                        yield _chunk(head, {"content": piece["text"]}, None)
            except TreadleError as error:
                yield b"data: %b\n\n" % _encode({"error": {"message": str(error), "type": error.title}})
                return
            yield _chunk(head, {}, finish)
            if chat.stream_options is not None and chat.stream_options.include_usage and usage is not None:
                yield b"data: %b\n\n" % _encode(head | {"choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type=EVENTS)

    async def transcriptions(self, request: Request) -> Response:
        """The words of a recording."""
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != FORM:
            raise BadRequest(f"Send {FORM}.", 415)
        parts = form_parts(await self._body(request), str(options.get("boundary", "")))
        wanted = captions.read(parts)
        parameters = {"timestamps": wanted.times} | ({"language": wanted.language} if wanted.language else {})
        asked = Asked([wanted.file], parameters, _named(wanted.model, "transcribe"))
        said = await self._ready.answer(request, "transcribe", asked, "openai")
        content, media_type = captions.write(said.answers[0], wanted.form, wanted.times)
        return Response(content, media_type=media_type, headers=_head(said))

    async def _body(self, request: Request) -> bytes:
        self._ready.admission.check()
        async with whole_body(request, body_bytes(self._ready.settings), self._ready.admission) as content:
            return content


def _installed(settings: Settings) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for capability in SPOKEN:
        if capability in CAPABILITIES:
            found |= {e.model: e for e in entries_of(capability, settings) if is_installed(e, settings)}
    return found


def _model(entry: Entry) -> dict[str, Any]:
    said = {"id": entry.model, "object": "model", "created": 0, "owned_by": entry.licence}
    return said | {"capability": entry.capability, "version": entry.version, "licence": entry.licence}


def _named(model: str, capability: str) -> str | None:
    """The model that is meant; a capability's own name means its default."""
    return None if model in DEFAULTS or model == capability else model


def _chat_request(chat: _Chat) -> Asked:
    for name in ("tools", "logprobs", "frequency_penalty", "presence_penalty", "logit_bias"):
        if getattr(chat, name):
            raise BadRequest(f"`{name}` is not spoken here.", 400)
    if chat.n not in (None, 1):
        raise BadRequest("`n` must be 1.", 400)
    if chat.response_format is not None and chat.response_format.get("type") != "text":
        raise BadRequest("`response_format` must be text.", 400)
    stop = (chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ())
    wanted = {
        "max_tokens": chat.max_completion_tokens or chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "seed": chat.seed,
        "stop": stop or None,
    }
    parameters = {name: value for name, value in wanted.items() if value is not None}
    messages = [{"role": _role(message.role), "content": _content(message)} for message in chat.messages]
    return Asked([messages], parameters, _named(chat.model, "generate-text"), bool(chat.stream))


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _content(message: _Message) -> str:
    if isinstance(message.content, str) or message.content is None:
        return message.content or ""
    if any(part.type != "text" for part in message.content):
        raise BadRequest("A message may have parts of the type text alone.", 400)
    return "".join(part.text for part in message.content)


def _completion(name: str, entry: Entry, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{name}", "object": kind, "created": int(time.time()), "model": entry.model}


def _chunk(head: dict[str, Any], delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return b"data: %b\n\n" % _encode(head | {"choices": [choice]})


def _usage(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


def _vector(values: list[float], form: str) -> list[float] | str:
    return values if form == "float" else base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def _head(said: Said) -> dict[str, str]:
    return {"x-model": said.entry.model, "x-model-version": said.entry.version, "x-licence": said.entry.licence}


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type=JSON)
