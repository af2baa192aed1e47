"""The commands' answers as a person reads them, plain text without colour. Knows only the records that it shows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Any

from pydantic import BaseModel

from console.output import pairs, table


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does, so that nothing is left running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def as_record(value: Any) -> dict[str, Any]:
    """A dataclass or a model as a dictionary."""
    if isinstance(value, dict):
        return value
    return value.model_dump() if isinstance(value, BaseModel) else asdict(value)


def initialised(name: str, made: dict[str, Any]) -> str:
    """What `init` inferred."""
    columns = [as_record(column) for column in made["columns"]]
    classes = f" ({made['classes']} classes)" if made["classes"] else ""
    lines = [
        f"{made['project_path']}: {made['problem']} of '{made['target']}'{classes}, {made['rows']:,} rows.",
        f"The rows were copied to {made['data_path']}; that file is read from now on.",
        "",
        table(columns, list(columns[0])),
    ]
    lines += [f"Ignored: {column} ({reason})" for column, reason in made["ignored"].items()]
    if made["time"]:
        lines += [
            f"Time: {made['time']}. The newest rows judge the model. If it does not say when a row happened, remove data.time."
        ]
    hint = "If a kind is wrong, name the right one in project.yaml (data.types)."
    return "\n".join([*lines, "", hint, f"Next: treadle train {name}"])


def addresses(rows: list[dict[str, Any]]) -> str:
    """Where each service is, one line each."""
    places = {row["name"]: row["url"] for row in rows}
    return "\n".join(
        [
            f"Console  {places['api']}/",
            f"API      {places['api']}/docs",
            f"Prefect  {places['prefect']}",
            f"MLflow   {places['mlflow']}",
        ]
    )


def stopped(said: dict[str, Any]) -> str:
    """Whether the platform was up, and which runs ended with it."""
    if not said["stopped"]:
        return "The platform was not up."
    return f"Stopped, and with it what was under way: {', '.join(said['ended'])}." if said["ended"] else "Stopped."


def trained(summary: dict[str, Any], url: str | None) -> str:
    """One turn of the wheel, in the words of its page in the Prefect UI; `url` is the running service's."""
    from treadle.pages.turn import in_words

    name = summary["project"]
    said = [f"{name}: {summary['decision']}", "", summary["reason"], "", pairs(in_words(summary))]
    place = f"{url}/ is the console, {url}/docs the API" if url else "Next: treadle up, then the console"
    return "\n".join([*said, "", f"{place}; or treadle models {name}"])


def watched(look: dict[str, Any]) -> str:
    """One look at the newest window, in the words of its page."""
    from treadle.pages.look import in_words, span_in_words

    words = in_words(look)
    files = {"Page": look.get("page"), "Evidently's report": look.get("report"), "Alert": look.get("alert")}
    record = dict(words.lines()) | {name: value for name, value in files.items() if value is not None}
    windows = [span_in_words(window) for window in look.get("windows") or []]
    by_window = ["", table(windows, list(windows[0]))] if windows else []
    return "\n".join([words.title, "", pairs(record), *by_window])


def replayed(lived: dict[str, Any]) -> str:
    """A replay by month."""
    lists = {"months", "looks", "retrains"}
    record = {key: value for key, value in lived.items() if key not in lists}
    parts = [table(lived[key], list(lived[key][0])) for key in ("months", "retrains") if lived.get(key)]
    return "\n\n".join([*parts, pairs(record)])


def spent(costs: dict[str, Any]) -> str:
    """CPU and wall seconds, in all, by flow, and by ready model and caller."""
    total = f"{costs['cpu_seconds']:.1f} CPU seconds in {costs['seconds']:.1f} s"
    tables = [table(rows, list(rows[0])) for rows in (costs.get("by_flow"), costs.get("ready")) if rows]
    return "\n\n".join([*tables, total])


def examined(result: dict[str, Any]) -> str:
    """What `doctor` found; each finding that is not good ends with the command that mends it."""
    marks = {"good": "ok  ", "note": "note", "bad": "BAD "}
    lines = []
    for finding in result["findings"]:
        lines.append(f"{marks[finding['state']]}  {finding['what']}: {finding['detail']}")
        if finding["mend"]:
            lines.append(f"      mend it: {finding['mend']}")
    return "\n".join(lines)


def lived(summary: dict[str, Any]) -> str:
    """The demo's closing table and where to look further."""
    months, stages = summary["months"], summary["seconds"]
    record = {key: value for key, value in summary.items() if key not in ("months", "seconds")}
    return "\n".join(
        [
            "",
            table(months, ["month", "static", "treadle", "retrains"]),
            "",
            pairs(record),
            "",
            *(f"{stage:<24}{seconds:>7.0f} s" for stage, seconds in stages.items()),
            "",
            "Look further: treadle up, then the console page; treadle models bikes; treadle cost bikes",
        ]
    )
