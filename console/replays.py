"""`treadle replay`: a past stream against retraining policies, as a command, and its answer as a person reads it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from console.output import table
from console.progress import say
from treadle.errors import BadData, Unavailable

if TYPE_CHECKING:
    import pandas as pd

    from treadle.settings import Settings

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 60
SAY_EVERY_S = 5.0


def replay_here(
    settings: Settings, name: str, stream: str | None, start: str | None, every: str | None, delay: str | None
) -> dict[str, Any]:
    """Replay a project's rows in this process; needs no server.

    Returns:
        What `treadle replay --json` prints.

    Raises:
        TreadleError: The project, the table, a time or a duration cannot be used.
    """
    from treadle.project import load_project
    from treadle.replay import lay_out, read_stream, recommend, replay_policies
    from treadle.replay.walk import as_record
    from treadle.retraining.turn import parse_moment

    project = load_project(name, settings)
    moment, length, late = parse_moment(start), read_duration("--every", every), read_duration("--delay", delay)
    say(f"Reading the rows of {name} …")
    course = lay_out(project, read_stream(project, stream, moment, length, late))
    replayed = replay_policies(course, say=_Ticker())
    chosen = recommend(replayed.outcomes, course.error_name)
    return as_record(replayed) | chosen.as_record(project.retrain, course.stream.every)


def read_duration(option: str, value: str | None) -> timedelta | None:
    """A duration from the command line.

    Raises:
        BadData: It is none; the message names the option.
    """
    from treadle.project import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{option}: {error}.") from None


def live_arguments(
    settings: Settings, stream: str | None, start: str | None, every: str | None, delay: str | None
) -> dict[str, Any]:
    """What the replay flow takes, from the words of the command line.

    Raises:
        Unavailable: The platform is down.
        BadData: A duration is none, or `--from` was given: a live replay begins with the stream.
    """
    from console.platform import is_up

    for option, value in (("--every", every), ("--delay", delay)):
        read_duration(option, value)
    if start is not None:
        raise BadData("--live sends the stream from its first row on; leave --from out, or cut the stream.")
    if not is_up(settings):
        raise Unavailable(
            "A live replay needs the running platform, which is down; start it with `treadle up --detach`."
        )
    return {"stream": stream, "step": every, "label_delay": delay}


class _Ticker:
    """Says how far a replay is, every few seconds and at its end."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, number: int, windows: int, end: pd.Timestamp) -> None:
        if number == windows or time.monotonic() - self._said > SAY_EVERY_S:
            self._said = time.monotonic()
            say(f"  window {number:,} of {windows:,}, up to {end:%Y-%m-%d %H:%M}")


def compared(found: dict[str, Any]) -> str:
    """The policies side by side, their error over time, and the recommendation."""
    policies = found["policies"]
    rows = [
        {
            "policy": policy["name"],
            found["metric"]: policy["error"],
            "retrains": policy["retrains"],
            "promoted": policy["promoted"],
            "CPU s": f"{policy['cpu_seconds']:.1f}",
        }
        for policy in policies
    ]
    return "\n".join(
        [
            f"{found['project']}, {found['from']} to {found['to']}: {found['rows']['first']:,} rows trained the first model, "
            f"{found['rows']['replayed']:,} were replayed in {len(policies[0]['windows']):,} windows.",
            *found["notes"],
            "",
            table(rows, list(rows[0])),
            "",
            *chart(policies, found["metric"]),
            "",
            f"Recommended: {found['recommended']}. {found['because']}",
            _how(found),
        ]
    )


def _how(found: dict[str, Any]) -> str:
    """How a project comes to live by what is recommended."""
    if found["is_set"]:
        return "The project lives by it already."
    keys = ", ".join(f"{key}: {value}" for key, value in found["setting"].items())
    return f"To live by it, write in projects/{found['project']}/project.yaml: retrain: {{{keys}}}"


def chart(policies: Sequence[dict[str, Any]], metric: str) -> list[str]:
    """The error of each policy over time as bars on one scale, and below them where it retrained."""
    width = min(WIDEST, len(policies[0]["windows"]))
    lines = {policy["name"]: _columns(policy["windows"], width) for policy in policies}
    top = max((error for columns in lines.values() for error, _ in columns if error is not None), default=0.0)
    room = max(map(len, lines))
    drawn = [f"{metric} over time; a full bar is {top:.4g}, ^ a retrain (+ several)"]
    for name, columns in lines.items():
        bars = "".join(_bar(error, top) for error, _ in columns)
        marks = "".join(" ^+"[min(count, 2)] for _, count in columns).rstrip()
        drawn += [f"{name.ljust(room)}  {bars}", *([f"{' ' * room}  {marks}"] if marks else [])]
    return drawn


def _columns(windows: Sequence[dict[str, Any]], width: int) -> list[tuple[float | None, int]]:
    """Error and retrains of each column of the chart; a column may stand for several windows, weighted by their rows."""
    columns = []
    for number in range(width):
        part = windows[number * len(windows) // width : (number + 1) * len(windows) // width]
        rows = sum(window["rows"] for window in part if window["error"] is not None)
        total = sum(window["rows"] * window["error"] for window in part if window["error"] is not None)
        columns.append((total / rows if rows else None, sum(window["retrained"] for window in part)))
    return columns


def _bar(error: float | None, top: float) -> str:
    """One column; a window without rows is a gap."""
    if error is None:
        return " "
    return BARS[min(len(BARS) - 1, int(error / top * len(BARS)))] if top > 0 else BARS[0]
