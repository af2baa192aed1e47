"""A transcription as a client of OpenAI's wants it: what it asks for, and JSON, plain text, or subtitles (SubRip and WebVTT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from serving.problem_details import BadRequest

FORMS = ("json", "text", "verbose_json", "srt", "vtt")
GRANULARITIES = ("segment", "word")
UNSPOKEN = ("prompt", "include", "known_speaker_names", "known_speaker_references")
"""Fields that would change the answer, and cannot here."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    Attributes:
        file: The recording.
        form: One of `FORMS`.
        times: What has its times in the answer: each sentence or so, or each word.
        language: ISO 639-1; `None` lets the model tell.
    """

    file: bytes
    model: str
    form: str
    times: Literal["segment", "word"]
    language: str | None


def read(parts: Sequence[tuple[str, str | bytes]]) -> Wanted:
    """A request out of the parts of its form.

    Raises:
        BadRequest: It has no file, or asks for what is not spoken here.
    """
    fields = {name.removesuffix("[]"): value for name, value in parts if isinstance(value, str)}
    file = next((value for name, value in parts if name == "file" and isinstance(value, bytes)), None)
    form = fields.get("response_format", "json")
    if file is None:
        raise BadRequest("The form has no `file`.", 400)
    if form not in FORMS:
        raise BadRequest(f"response_format must be one of {', '.join(FORMS)}.", 400)
    for name in UNSPOKEN:
        if fields.get(name):
            raise BadRequest(f"`{name}` is not spoken here.", 400)
    if fields.get("stream") == "true":
        raise BadRequest("A transcription does not stream; ask without `stream`.", 400)
    if fields.get("temperature", "0") not in ("0", "0.0"):
        raise BadRequest("`temperature` must be 0.", 400)
    times = {str(value) for name, value in parts if name.removesuffix("[]") == "timestamp_granularities"}
    return Wanted(file, fields.get("model", "default"), form, _times(times, form), fields.get("language") or None)


def _times(asked: set[str], form: str) -> Literal["segment", "word"]:
    if not asked <= set(GRANULARITIES):
        raise BadRequest(f"timestamp_granularities must be {' or '.join(GRANULARITIES)}.", 400)
    if asked and form != "verbose_json":
        raise BadRequest("timestamp_granularities need the response_format verbose_json.", 400)
    if len(asked) > 1:
        raise BadRequest(
            "timestamp_granularities must be one of segment and word: one request tells the times of one.", 400
        )
    return "word" if "word" in asked else "segment"


def write(answer: dict[str, Any], form: str, times: Literal["segment", "word"] = "segment") -> tuple[bytes, str]:
    """A transcription and its media type.

    Args:
        answer: `text`, `language`, `seconds`, and `chunks` of `text`, `start` and `end` in seconds.
        form: One of `FORMS`.
        times: What the chunks are.
    """
    if form == "text":
        return f"{answer['text']}\n".encode(), "text/plain; charset=utf-8"
    if form in ("srt", "vtt"):
        return _subtitles(answer["chunks"], form).encode(), "text/plain; charset=utf-8"
    said: dict[str, Any] = {"text": answer["text"]}
    if form == "verbose_json":
        said |= {"task": "transcribe", "language": answer["language"], "duration": answer["seconds"]}
        said |= _segments(answer["chunks"]) if times == "segment" else _words(answer["chunks"])
    return msgspec.json.encode(said), "application/json"


def _segments(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"segments": [{"id": number} | _timed(chunk, "text") for number, chunk in enumerate(chunks)]}


def _words(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"words": [_timed(chunk, "word") for chunk in chunks]}


def _timed(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: chunk["text"], "start": chunk["start"], "end": chunk["end"]}


def _subtitles(chunks: list[dict[str, Any]], form: str) -> str:
    """Subtitles, numbered in SubRip.

    >>> print(_subtitles([{"text": "Hello.", "start": 0.0, "end": 1.5}], "srt"))
    1
    00:00:00,000 --> 00:00:01,500
    Hello.
    <BLANKLINE>
    """
    point = "," if form == "srt" else "."
    blocks = []
    for number, chunk in enumerate(chunks, 1):
        head = f"{number}\n" if form == "srt" else ""
        blocks.append(
            f"{head}{_time(chunk['start'], point)} --> {_time(chunk['end'], point)}\n{chunk['text'].strip()}\n"
        )
    return ("" if form == "srt" else "WEBVTT\n\n") + "\n".join(blocks)


def _time(seconds: float, point: str) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}{point}{millis % 1000:03}"
