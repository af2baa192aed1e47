"""How a command speaks: its answer on standard output, everything else on standard error, failures in one line.

Libraries print where they like; while a command runs, their standard output is standard error.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from console.progress import say
from treadle.errors import TreadleError
from treadle.settings import Settings

STOPPED = "Stopped. Run the same command again to go on."


@contextmanager
def answering() -> Iterator[TextIO]:
    """Give the true standard output to the block and send everybody else's to standard error; report failures.

    Standard output is not given back: what libraries print while the process ends must not follow the answer.

    Exits:
        With the error's own code: 2 for what a person can mend, 3 conflict, 4 a changed or untrusted model, 5 unavailable (a full
        disk too), 130 when interrupted, 1 for what is a bug or a failed run.
    """
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        try:
            yield answer
        except TreadleError as error:
            _fail(error.exit_code, str(error))
        except KeyboardInterrupt:
            _fail(130, STOPPED)
        except BrokenPipeError:
            _fail(1, "The reader of this command's output has gone.")
        except Exception as error:  # noqa: BLE001 - the last line of defence: one line, and the trace in a file
            _fail(*_unexpected(error))


def give(answer: TextIO, value: Any, as_json: bool, show: Callable[[Any], str]) -> None:
    """Write the command's answer: one JSON value, or what `show` makes of it for a person."""
    text = json.dumps(_plain(value), default=str, allow_nan=False) if as_json else show(value)
    answer.write(text + "\n")
    answer.flush()


def _plain(value: Any) -> Any:
    """The value with `None` for numbers that JSON cannot hold, and without NumPy's own kinds of number."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fail(code: int, line: str) -> NoReturn:
    sys.stdout.flush()
    say(" ".join(line.split()))
    sys.stderr.flush()
    raise SystemExit(code)


def _unexpected(error: Exception) -> tuple[int, str]:
    """Exit code and line for an error that nobody foresaw."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in chain):
        return 5, "The disk is full; free some space and run the same command again."
    if "database or disk is full" in str(error):
        return 5, "The disk is full; free some space and run the same command again."
    path = _keep_trace(error)
    return 1, f"Unexpected {type(error).__name__}: {str(error)[:300]} (the whole trace: {path})"


def _keep_trace(error: Exception) -> Path | str:
    text = "".join(traceback.format_exception(error))
    path = Settings().state_dir / "logs" / "last-error.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:
        return "it could not be written"
    return path


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned plain text, with a heading."""
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "—"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(part)}" for key, part in value.items()) or "—"
    return str(value)


def pairs(value: dict[str, Any]) -> str:
    """A record as aligned `key  value` lines."""
    width = max((len(key) for key in value), default=0)
    return "\n".join(f"{key.ljust(width)}  {_cell(part)}" for key, part in value.items())
