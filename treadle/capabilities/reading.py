"""Inputs as a request brings them, as what capabilities work on: checked, decoded, and summed up for the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.pictures import Picture, read_picture
from treadle.capabilities.protocol import MEDIA, Kind
from treadle.capabilities.sounds import Sound, read_sound

MOST_MESSAGES = 200
ROLES = ("system", "user", "assistant")
Takes = Kind | Mapping[str, Kind]


def check_inputs(takes: Takes, inputs: Sequence[Any], limits: Limits) -> None:
    """Refuse what can be refused without decoding.

    Args:
        takes: What one input is.
        inputs: Texts, lists of messages, bytes of files, or mappings of these.
        limits: Of the request.

    Raises:
        BadInput: There is none, or one is of the wrong kind.
        TooMuch: There are too many, or one is too large.
    """
    if not inputs:
        raise BadInput("There is no input.")
    if len(inputs) > limits.inputs:
        raise TooMuch(f"The request has {len(inputs):,} inputs; at most {limits.inputs} are answered at once.")
    for given in inputs:
        for kind, value in _fields(takes, given):
            _check(kind, value, limits)


def _fields(takes: Takes, given: Any) -> list[tuple[Kind, Any]]:
    if isinstance(takes, str):
        return [(takes, given)]
    if not isinstance(given, Mapping) or set(given) != set(takes):
        raise BadInput(f"An input must have the fields {', '.join(takes)} and no others.")
    return [(kind, given[name]) for name, kind in takes.items()]


def _check(kind: Kind, value: Any, limits: Limits) -> None:
    if kind in MEDIA:
        if not isinstance(value, bytes):
            raise BadInput(f"An input must be {_said(kind)}, not {type(value).__name__}.")
        limits.check_upload(value)
    elif kind == "chat" and isinstance(value, list):
        _check_messages(value, limits)
    elif isinstance(value, str):
        limits.check_text(value)
    else:
        raise BadInput(f"An input must be {_said(kind)}, not {type(value).__name__}.")


def _said(kind: Kind) -> str:
    return {"chat": "a text or a list of messages", "text": "a text"}.get(kind, f"the bytes of a file ({kind})")


def _check_messages(messages: list[Any], limits: Limits) -> None:
    if not messages:
        raise BadInput("There is no message.")
    if len(messages) > MOST_MESSAGES:
        raise TooMuch(f"There are {len(messages):,} messages; at most {MOST_MESSAGES} are read.")
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BadInput(f"A message must have a role: {', '.join(ROLES)}.")
        if not isinstance(message.get("content"), str):
            raise BadInput("A message's content must be text.")
    limits.check_text("".join(message["content"] for message in messages))


def decode(takes: Takes, given: Any, limits: Limits) -> Any:
    """One checked input as capabilities get it: str, messages, Picture, Sound, bytes of a video, or a dict of these.

    Raises:
        BadInput: It cannot be decoded.
        TooMuch: It would become too large.
    """
    if not isinstance(takes, str):
        return {name: decode(kind, given[name], limits) for name, kind in takes.items()}
    if takes == "image":
        return read_picture(given, limits)
    return read_sound(given, limits) if takes == "sound" else given


def facts(decoded: Any) -> dict[str, float]:
    """What the ledger keeps of an input: sizes and levels, never the input itself."""
    if isinstance(decoded, Picture | Sound):
        return decoded.facts()
    if isinstance(decoded, str):
        return {"characters": len(decoded), "words": len(decoded.split()), "beyond_ascii": _beyond_ascii(decoded)}
    if isinstance(decoded, bytes):
        return {"bytes": len(decoded)}
    if isinstance(decoded, list):
        return {"messages": len(decoded), "characters": sum(len(message["content"]) for message in decoded)}
    return {f"{name}.{fact}": value for name, part in decoded.items() for fact, value in facts(part).items()}


def _beyond_ascii(text: str) -> float:
    """The share of signs that English does without: another language or another script raises it.

    >>> _beyond_ascii("Äther")
    0.2
    """
    return round(sum(not sign.isascii() for sign in text) / len(text), 4) if text else 0.0
