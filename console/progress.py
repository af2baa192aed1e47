"""What a command shows while a flow runs in it: one line a step, on standard error, with the seconds since the start.

Prefect's console handler is replaced by this class through the environment; the run's page keeps the whole log.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

from treadle.errors import TreadleError

BEGUN = time.monotonic()
CEREMONY = (
    "Finished in state", "Beginning flow run", "Beginning subflow", "View at", "Created ", "Still processing items",
    "Downloading flow code", "Worker ", "Flow run '", "Crash detected!",
)  # fmt: skip
"""Beginnings of Prefect's own messages that say nothing to a person who waits."""
ENVIRONMENT = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "console.progress.Progress",
    "PREFECT_LOGGING_LEVEL": "INFO",
}


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the command line's voice


class Progress(logging.StreamHandler[TextIO]):
    """Prints what a run says without the ceremony around it; a step that ended well is one word."""

    def __init__(self, stream: TextIO | None = None, styles: object = None) -> None:
        super().__init__(stream or sys.stderr)
        self.styles = styles

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless it repeats what the last line of the command will say."""
        line = describe(record)
        if line is not None:
            say(f"{time.monotonic() - BEGUN:6.1f} s  {line}")


def describe(record: logging.LogRecord) -> str | None:
    """One line for a log record, or `None` when it says nothing to a person who waits."""
    message = record.getMessage()
    step = getattr(record, "task_name", None)
    if record.exc_info and isinstance(record.exc_info[1], TreadleError | KeyboardInterrupt):
        return None
    if message.startswith("Finished in state Completed"):
        return f"{step}: done" if step else None
    if message.startswith(CEREMONY):
        return None
    first = message.splitlines()[0] if message else ""
    return f"{step}: {first}" if step else first
