"""What the service writes to standard error: one line an event, JSON for machines, text where a person looks.

A line holds no caller's data: routes are patterns, and of an exception it has the type and the places, not the message,
which may repeat a value. Control characters are escaped, so no line can be made up. The records are the standard library's,
since those of uvicorn, SQLAlchemy and Alembic are too; what has to be kept out of a line would be ours with structlog as well.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

FIELDS = ("request_id", "route", "model", "version", "status", "seconds")
LONGEST_MESSAGE = 1000
MOST_PLACES = 16
"""Innermost calls of an exception that are written; with them a line fits into what a pipe takes in one piece."""
MOST_ERRORS = 3
"""Exceptions of one chain of causes that are written."""

MOST_ALIKE = 10
"""Warnings of uvicorn's about callers that are written in a minute, of one wording: each invalid request has one."""
MINUTE_S = 60.0

MOST_MARKS = 60
"""Parts of one request that are noted: an answer batch by batch may have any number."""


@dataclass(slots=True)
class Noted:
    """What is known of the request that is under way, for its log lines and its trace.

    Attributes:
        request_id: What its response says in `X-Request-Id`.
        route: The method and the route's pattern; paths and methods may be invented.
        model: The version that answers it, once that is known.
        version: Its number.
        rows: Rows that were answered.
        status: Of the response, 0 before there is one.
        seconds: How long it took, 0 before it is over.
        marks: The ends of its parts and when they were, by `time.perf_counter`; kept only for a trace.
        told: `id` of the exception that was written last, so that none is written twice.
    """

    request_id: str
    route: str
    model: str | None = None
    version: int | None = None
    rows: int | None = None
    status: int = 0
    seconds: float = 0.0
    marks: list[tuple[str, float]] | None = None
    told: int = field(default=0, repr=False)


noted: ContextVar[Noted | None] = ContextVar("noted", default=None)
"""The request of this task."""


def note_model(name: str, version: int) -> None:
    """Note which version answers the request of this task."""
    request = noted.get()
    if request is not None:
        request.model, request.version = name, version


def note_ready(capability: str, model: str | None = None) -> None:
    """Note which capability the request of this task asks, and which model answers, by names that we gave."""
    request = noted.get()
    if request is not None:
        request.model = capability if model is None else f"{capability}/{model}"


def note_rows(rows: int) -> None:
    """Note how many rows the request of this task was answered."""
    request = noted.get()
    if request is not None:
        request.rows = rows


def mark(part: str) -> None:
    """Note that a part of the work on the request of this task has ended."""
    request = noted.get()
    if request is not None and request.marks is not None and len(request.marks) < MOST_MARKS:
        request.marks.append((part, time.perf_counter()))


def install(settings: Settings) -> None:
    """Write this process's logs, warnings and last words to standard error in the settings' form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if _is_text(settings, sys.stderr) else JsonLines())
    handler.addFilter(_first_time)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").addFilter(_few_alike)  # the same object, however often this is called
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells each start which database it found
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # what logging itself prints in trouble is neither JSON nor free of data
    sys.excepthook = _last_words
    threading.excepthook = lambda said: _last_words(said.exc_type, said.exc_value, said.exc_traceback)


def _is_text(settings: Settings, stream: TextIO) -> bool:
    return settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())


def _first_time(record: logging.LogRecord) -> bool:
    """Whether a record's exception is news: the app writes it with its route, and uvicorn meets it again."""
    request = noted.get()
    if request is None or not record.exc_info or record.exc_info[1] is None:
        return True
    before, request.told = request.told, id(record.exc_info[1])
    return before != request.told


class FewAlike(logging.Filter):
    """Lets some warnings of one wording through a minute, and counts the others: one line says at its end how many they were."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.levelno != logging.WARNING:
            return True
        wording = str(record.msg)
        with self._lock:
            seen = self._seen[wording] = self._seen.get(wording, 0) + 1
        if seen == 1:
            end = threading.Timer(MINUTE_S, self._end, [wording])
            end.daemon = True
            end.start()
        return seen <= MOST_ALIKE

    def _end(self, wording: str) -> None:
        with self._lock:
            more = self._seen.pop(wording) - MOST_ALIKE
        if more > 0:
            log.warning("%d more lines in a minute were left out: %s", more, wording)


_few_alike = FewAlike()


def _last_words(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    """Write an exception that nobody caught."""
    if issubclass(kind, KeyboardInterrupt | SystemExit) or error is None:
        return
    log.critical("ended by an error that nobody expected", exc_info=error)


def access(request: Noted) -> None:
    """Write one line for a request that is over, if it failed, or if the level is debug."""
    log.log(logging.INFO if request.status >= 500 else logging.DEBUG, "answered")


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record as plain facts, without what is not known."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts: dict[str, Any] = {
        "time": at,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record),
    }
    request = noted.get()
    if request is not None:
        facts |= {name: value for name in FIELDS if (value := getattr(request, name))}
    if record.exc_info and record.exc_info[1] is not None:
        facts["errors"] = errors_of(record.exc_info[1])
    return facts


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()[:LONGEST_MESSAGE].strip()
    except Exception:  # noqa: BLE001 - a line with wrong arguments is a line still
        return str(record.msg)[:LONGEST_MESSAGE].strip()


def errors_of(error: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes, the last one first: each its type and the places it came through, innermost last."""
    found: list[dict[str, Any]] = []
    following: BaseException | None = error
    while following is not None and len(found) < MOST_ERRORS:
        places = traceback.extract_tb(following.__traceback__)[-MOST_PLACES:]
        found.append({"type": _type_of(following), "places": [_place(place) for place in places]})
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


def _type_of(error: BaseException) -> str:
    """The type, and the system's word for what went wrong, such as a full disk."""
    name = type(error).__name__
    return f"{name}: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else name


def _place(place: traceback.FrameSummary) -> str:
    path = Path(place.filename)
    return f"{path.parent.name}/{path.name}:{place.lineno} {place.name}"


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(facts_of(record), default=str).replace("\x7f", "\\u007f")


class TextLines(logging.Formatter):
    """The same for people; an exception's places follow on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines."""
        facts = facts_of(record)
        errors = facts.pop("errors", [])
        head = [facts.pop(name) for name in ("time", "level", "logger", "message")]
        lines = [" ".join([*head, *(f"{name}={value}" for name, value in facts.items())])]
        for error in errors:
            lines += [f"  {error['type']}", *(f"    {place}" for place in error["places"])]
        return "\n".join("".join(_shown(character) for character in line) for line in lines)


def _shown(character: str) -> str:
    """A character as a terminal may have it: nothing that moves the cursor, turns the line around or begins another."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()
