"""The part of the API's description that is ready models: every capability's own request, parameters and answer."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from treadle.capabilities import CAPABILITIES, Capability, load_capability
from treadle.capabilities.protocol import MEDIA, Kind

_TEXT, _NUMBER, _WHOLE, _BOOL = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
_ANY: dict[str, Any] = {}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"type": "string", "contentEncoding": "base64"}
_URL = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}}
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string", "enum": ["system", "user", "assistant"]}, "content": _TEXT},
}
_NAMED = {"capability": _TEXT, "model": _TEXT, "version": _TEXT, "licence": _TEXT, "source": _TEXT}
_REMARKS = {"weak": _BOOL, "research_only": _BOOL}
_COST = {"seconds": _NUMBER, "cpu_seconds": _NUMBER}
_STATES = ["waiting", "running", "completed", "failed"]
FAILURES = ("400", "401", "403", "404", "406", "408", "413", "415", "422", "429", "500", "501", "503")


def ready_paths(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The paths.

    Args:
        problem: How an error looks.
    """
    name = {"name": "capability", "in": "path", "required": True, "schema": _TEXT}
    job = {"name": "job", "in": "path", "required": True, "schema": _TEXT}
    model = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    anything = _anything(problem)
    paths: dict[str, Any] = {
        "/v1/ready": {"get": _get("Ready models: what is here", _list_schema(), problem)},
        "/v1/ready/{capability}": {
            "parameters": [name],
            "get": _get("One capability", _ANY, problem),
            "post": anything,
        },
        "/v1/ready/{capability}/hf": {"parameters": [name], "post": _hub(problem)},
        "/v1/ready/jobs/{job}": {"parameters": [job], "get": _get("How a job is", _job_schema(), problem)},
        **_faces(problem),
        "/openai/v1/models": {"get": _get("OpenAI's list of models", _ANY, _OPENAI_ERROR)},
        "/openai/v1/models/{model}": {"parameters": [model], "get": _get("OpenAI's model", _ANY, _OPENAI_ERROR)},
    }
    for route in ("embeddings", "chat/completions", "audio/transcriptions"):
        paths[f"/openai/v1/{route}"] = {"post": _openai(route)}
    for capability in map(load_capability, CAPABILITIES):
        asked = _ask(capability, problem)
        paths[f"/v1/ready/{capability.name}"] = {"get": _get(f"About {capability.name}", _ANY, problem), "post": asked}
    return paths


def _get(summary: str, schema: Mapping[str, Any], problem: Mapping[str, Any]) -> dict[str, Any]:
    said = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
    return {
        "summary": summary,
        "tags": ["ready"],
        "responses": said | dict.fromkeys(("401", "403", "404", "422"), problem),
    }


def _anything(problem: Mapping[str, Any]) -> dict[str, Any]:
    body = {"application/json": {"schema": {"type": "object", "required": ["inputs"]}, "example": {"inputs": ["…"]}}}
    return _posted("Ask a ready model", body, _answer_schema(_ANY), problem)


def _ask(capability: Capability, problem: Mapping[str, Any]) -> dict[str, Any]:
    """A capability's own request and answer."""
    takes = capability.takes
    one = _input(takes)
    many = {"type": "array", "items": one, "minItems": 1}
    properties = {
        "inputs": {"anyOf": [one, many]},
        "parameters": inlined(msgspec.json.schema(capability.Parameters)),
        "model": {"type": ["string", "null"]},
        "stream": _BOOL,
    }
    schema = {"type": "object", "required": ["inputs"], "additionalProperties": False, "properties": properties}
    example = {"inputs": [_example(capability)], "parameters": dict(capability.example)}
    body: dict[str, Any] = {
        "application/json": {"schema": schema, "example": example},
        "multipart/form-data": {"schema": {"type": "object"}},
    }
    if takes in MEDIA:
        body[f"{'audio' if takes == 'sound' else takes}/*"] = _BINARY
    elif takes in ("text", "chat"):
        body["text/plain"] = {"schema": _TEXT}
    said = _posted(
        f"Ask {capability.name}", body, _answer_schema(inlined(msgspec.json.schema(capability.Answer))), problem
    )
    if capability.Piece is not None:
        said["responses"]["200"]["content"]["text/event-stream"] = {"schema": _TEXT}
    return said | {"x-no-form": True}


def _posted(
    summary: str, body: Mapping[str, Any], answer: Mapping[str, Any], problem: Mapping[str, Any]
) -> dict[str, Any]:
    prefer = {"name": "Prefer", "in": "header", "schema": {"type": "string", "enum": ["respond-async"]}}
    prefer["description"] = "Answer in the background: 202, and where to look."
    taken = {"type": "object", "required": ["id", "state", "status_url"]}
    responses = {
        "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
        "202": {"description": "A job was taken", "content": {"application/json": {"schema": taken}}},
    }
    return {
        "summary": summary,
        "tags": ["ready"],
        "parameters": [prefer],
        "requestBody": {"required": True, "content": body},
        "responses": responses | dict.fromkeys(FAILURES, problem),
    }


def _input(takes: Kind | Mapping[str, Kind]) -> dict[str, Any]:
    if not isinstance(takes, str):
        fields = {name: _input(kind) for name, kind in takes.items()}
        return {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}
    if takes in MEDIA:
        return {"anyOf": [_FILE, _URL]}
    return _TEXT if takes == "text" else {"anyOf": [_TEXT, {"type": "array", "items": _MESSAGE, "minItems": 1}]}


def _example(capability: Capability) -> Any:
    takes = capability.takes
    if isinstance(takes, str):
        return _example_of(takes, capability)
    return {name: _example_of(kind, capability) for name, kind in takes.items()}


def _example_of(kind: Kind, capability: Capability) -> str:
    if kind == "image":
        return base64.b64encode(white_png(64)).decode()
    return "the file in base64" if kind in MEDIA else capability.example_text


def white_png(size: int) -> bytes:
    """A white square as PNG, for an example that can be sent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * size) * size)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _answer_schema(answer: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"id": _TEXT} | _NAMED | _REMARKS | {"answers": {"type": "array", "items": answer}} | _COST
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _list_schema() -> dict[str, Any]:
    model = {"type": "object", "required": ["model", "licence", "size_bytes", "installed", "weak"]}
    row = {
        "type": "object",
        "required": ["capability", "models"],
        "properties": {"capability": _TEXT, "models": {"type": "array", "items": model}},
    }
    properties = {"capabilities": {"type": "array", "items": row}, "loaded_mb": {"type": "object"}}
    return {"type": "object", "required": list(properties), "properties": properties}


def _job_schema() -> dict[str, Any]:
    properties = {
        "id": _TEXT, "capability": _TEXT, "state": {"type": "string", "enum": _STATES}, "inputs": _WHOLE, "done": _WHOLE,
        "error": {"type": ["string", "null"]}, "run_url": _TEXT, "answers": {"type": "array"},
    }  # fmt: skip
    required = [name for name in properties if name != "answers"]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_PERSON = {
    "collection": _TEXT, "person": _TEXT, "pictures": _WHOLE, "consent": _TEXT, "by": _TEXT,
    "at": {"type": "string", "format": "date-time"}, "model": _TEXT,
}  # fmt: skip


def _faces(problem: Mapping[str, Any]) -> dict[str, Any]:
    """People for search-faces."""
    collection = {"name": "collection", "in": "path", "required": True, "schema": _TEXT}
    people = {"type": "array", "items": _object(_PERSON)}
    counts = {"type": "array", "items": _object({"collection": _TEXT, "people": _WHOLE})}
    kept = _object(_NAMED | _REMARKS | _PERSON)
    newcomer = {"person": _TEXT, "consent": _TEXT, "pictures": {"type": "array", "items": _FILE, "minItems": 1}}
    example = {"person": "Ada", "consent": "Signed form 7, in the safe", "pictures": ["the file in base64"]}
    form = {"type": "object", "required": ["person", "consent"], "properties": {"person": _TEXT, "consent": _TEXT}}
    enroll = {
        "application/json": {"schema": _object(newcomer), "example": example},
        "multipart/form-data": {"schema": form},
    }
    forget = {"application/json": {"schema": _object({"person": _TEXT}), "example": {"person": "Ada"}}}
    gone = _object({"collection": _TEXT, "forgotten": _TEXT})
    return {
        "/v1/ready/faces": {"get": _get("Collections of faces", _object({"collections": counts}), problem)},
        "/v1/ready/faces/{collection}": {
            "parameters": [collection],
            "get": _get("Who is enrolled", _object({"collection": _TEXT, "people": people}), problem),
            "post": _change("Enroll a person, with a note of the consent", enroll, "201", kept, problem),
        },
        "/v1/ready/faces/{collection}/forget": {
            "parameters": [collection],
            "post": _change("Remove all that is known of a person", forget, "200", gone, problem),
        },
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "required": list(properties), "properties": dict(properties), "additionalProperties": False,
    }  # fmt: skip


def _change(
    summary: str, body: Mapping[str, Any], status: str, answer: Mapping[str, Any], problem: Mapping[str, Any]
) -> dict[str, Any]:
    done = {status: {"description": "Done", "content": {"application/json": {"schema": answer}}}}
    return {
        "summary": summary, "tags": ["ready"], "requestBody": {"required": True, "content": dict(body)},
        "responses": done | dict.fromkeys(FAILURES, problem), "x-no-form": True,
    }  # fmt: skip


def _hub(problem: Mapping[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": _ANY, "parameters": {"type": "object"}},
    }
    body = {"application/json": {"schema": schema, "example": {"inputs": "…"}}, "*/*": _BINARY}
    said = _posted("Ask in the form of huggingface_hub.InferenceClient", body, _ANY, problem)
    said["responses"].pop("202")
    return {key: value for key, value in said.items() if key != "parameters"}


_ERROR = {"type": "object", "required": ["message", "type", "code"], "properties": {"message": _TEXT, "type": _TEXT}}
_OPENAI_ERROR = {
    "description": "OpenAI's error",
    "content": {
        "application/json": {"schema": {"type": "object", "required": ["error"], "properties": {"error": _ERROR}}}
    },
}
_OPENAI = {
    "embeddings": {"model": "embed-text", "input": "A cat sat on the mat."},
    "chat/completions": {"model": "generate-text", "messages": [{"role": "user", "content": "Say hello."}]},
}


def _openai(route: str) -> dict[str, Any]:
    """One route of OpenAI's; its own documentation says all of it."""
    body: dict[str, Any] = {"multipart/form-data": {"schema": {"type": "object", "required": ["file"]}}}
    if route in _OPENAI:
        example = _OPENAI[route]
        schema = {"type": "object", "required": [name for name in example if name != "model"]}
        body = {"application/json": {"schema": schema, "example": example}}
    said = {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}}
    if route == "audio/transcriptions":
        said["200"]["content"] |= {"text/plain": {"schema": _TEXT}}
    return {
        "summary": f"OpenAI's {route}",
        "tags": ["ready"],
        "requestBody": {"required": True, "content": body},
        "responses": said | dict.fromkeys(FAILURES, _OPENAI_ERROR),
        "x-no-form": True,
    }


def inlined(schema: Mapping[str, Any]) -> Any:
    """A JSON Schema of msgspec's without references, which would point out of their place in the document.

    >>> inlined({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}})
    {'type': 'object'}
    """
    known = schema.get("$defs", {})

    def put(part: Any) -> Any:
        if isinstance(part, list):
            return [put(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return put(known[part["$ref"].rpartition("/")[2]])
        return {name: put(value) for name, value in part.items() if name != "$defs"}

    return put(dict(schema))
