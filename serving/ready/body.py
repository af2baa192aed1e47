"""Requests of the own API as inputs and parameters: JSON with base64, a form with files, or a file alone."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from multipart import MultipartError, MultipartParser, parse_options_header

from serving.problem_details import BadRequest
from serving.ready.work import Asked
from treadle.capabilities.limits import BadInput
from treadle.capabilities.protocol import MEDIA, Capability, Kind

T = TypeVar("T")
JSON = "application/json"
FORM = "multipart/form-data"
MOST_PARTS = 256
Fetch = Callable[[str], bytes]
"""Gets a URL's content, or raises."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    inputs: Any
    parameters: dict[str, Any] = {}
    model: str | None = None
    stream: bool = False


_read_body = msgspec.json.Decoder(_Body).decode
_read_json = msgspec.json.Decoder().decode


def read(body: bytes, content_type: str, query: Mapping[str, str], capability: Capability, fetch: Fetch) -> Asked:
    """A request's inputs and parameters.

    Args:
        body: As it came.
        content_type: Its header.
        query: Parameters of the address; only for a body that is a file or a text alone.
        capability: What is asked.
        fetch: Gets inputs that are given by URL.

    Raises:
        BadRequest: It is not what its header says, or has something that nobody knows.
        BadInput: An input is of the wrong kind.
    """
    kind, options = parse_options_header(content_type)
    if kind == JSON:
        return _from_json(body, capability, fetch)
    if kind == FORM:
        return _from_form(body, str(options.get("boundary", "")), capability)
    parameters = dict(query)
    model = parameters.pop("model", None)
    if kind == "text/plain" and capability.takes in ("text", "chat"):
        return Asked([_text(body)], parameters, model)
    if isinstance(capability.takes, str) and capability.takes in MEDIA and kind not in ("", "text/plain"):
        return Asked([body], parameters, model)
    raise BadRequest(f"Send {JSON}, {FORM}, or a file by itself with its own content type.", 415)


def _from_json(body: bytes, capability: Capability, fetch: Fetch) -> Asked:
    try:
        read = _read_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.ValidationError) else "the body is not JSON in UTF-8"
        raise BadRequest(f"{why[:1].upper()}{why[1:]}.", 400) from None
    given = listed(read.inputs, capability)
    return Asked([plain(one, capability, fetch) for one in given], read.parameters, read.model, read.stream)


def parsed(read: Callable[[bytes], T], content: bytes) -> T:
    """A body of JSON by its decoder.

    Raises:
        BadRequest: It is no JSON, or is not what the decoder wants.
    """
    try:
        return read(content)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{error}.", 400) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("The body is not JSON in UTF-8.", 400) from None


def listed(inputs: Any, capability: Capability) -> list[Any]:
    """One input or a list of them, as a list; a list of messages is one."""
    if not isinstance(inputs, list):
        return [inputs]
    is_chat = capability.takes == "chat" and inputs and isinstance(inputs[0], dict)
    return [inputs] if is_chat else inputs


def plain(given: Any, capability: Capability, fetch: Fetch) -> Any:
    """One input of JSON: files out of base64 or from where a URL points."""
    takes = capability.takes
    if isinstance(takes, str):
        return _value(takes, given, fetch)
    if not isinstance(given, dict):
        raise BadInput(f"An input must have the fields {', '.join(takes)}.")
    return {name: _value(takes.get(name, "text"), value, fetch) for name, value in given.items()}


def _value(kind: Kind, value: Any, fetch: Fetch) -> Any:
    if kind not in MEDIA:
        return value
    if isinstance(value, dict) and set(value) == {"url"} and isinstance(value["url"], str):
        return fetch(value["url"])
    if not isinstance(value, str):
        raise BadInput('A file in JSON is base64, or {"url": …}.')
    return from_base64(value)


def from_base64(text: str) -> bytes:
    """A file out of base64, with or without `data:…;base64,` before it.

    >>> from_base64("data:image/png;base64,aGk=")
    b'hi'
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("A file in JSON must be base64; this is not.") from None


def _from_form(body: bytes, boundary: str, capability: Capability) -> Asked:
    """A form: files and texts by field, `parameters` as JSON or parameters one a field."""
    takes = capability.takes
    parameters: dict[str, Any] = {}
    files: dict[str, list[Any]] = {}
    options: dict[str, str] = {}
    for name, value in form_parts(body, boundary):
        if isinstance(value, bytes) or name in ("input", "inputs"):
            files.setdefault(name, []).append(value)
        elif name == "parameters":
            parameters |= _object(value)
        elif name in ("model", "stream"):
            options[name] = value
        else:
            parameters[name] = value
    given = [one for many in files.values() for one in many]
    inputs = given if isinstance(takes, str) else [{name: many[0] for name, many in files.items()}]
    return Asked(inputs, parameters, options.get("model"), options.get("stream") == "true")


def form_parts(body: bytes, boundary: str) -> list[tuple[str, str | bytes]]:
    """The parts of a form by name: bytes of a file, text of a field.

    Raises:
        BadRequest: It is no form.
    """
    try:
        size = len(body) + 1
        parser = MultipartParser(
            io.BytesIO(body), boundary, len(body), part_limit=MOST_PARTS, spool_limit=size, memory_limit=size
        )
        return [(part.name or "", part.raw if part.filename is not None else part.value) for part in parser]
    except (MultipartError, UnicodeDecodeError, ValueError, LookupError):
        raise BadRequest("The body is not a form as its header says.", 400) from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = _read_json(text)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadRequest("`parameters` must be a JSON object.", 400)
    return found


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadRequest("The text is not UTF-8.", 400) from None
