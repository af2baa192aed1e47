"""A transcription as a client wants it: JSON, plain text, or subtitles (SubRip and WebVTT)."""

from __future__ import annotations

from typing import Any

import msgspec

FORMS = ("json", "text", "verbose_json", "srt", "vtt")


def write(answer: dict[str, Any], form: str) -> tuple[bytes, str]:
    """A transcription and its media type.

    Args:
        answer: `text`, `language`, `seconds`, and `chunks` of `text`, `start` and `end` in seconds.
        form: One of `FORMS`.
    """
    if form == "text":
        return f"{answer['text']}\n".encode(), "text/plain; charset=utf-8"
    if form in ("srt", "vtt"):
        return _subtitles(answer["chunks"], form).encode(), "text/plain; charset=utf-8"
    said: dict[str, Any] = {"text": answer["text"]}
    if form == "verbose_json":
        segments = [
            {"id": number, "start": chunk["start"], "end": chunk["end"], "text": chunk["text"]}
            for number, chunk in enumerate(answer["chunks"])
        ]
        more = {"task": "transcribe", "language": answer["language"], "duration": answer["seconds"]}
        said |= more | {"segments": segments}
    return msgspec.json.encode(said), "application/json"


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
