"""The watch-ready flow: one look at the calls of ready models."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.slot import taken_once
from tasks.watch_ready import judge_ready, tell_ready


@flow(name="watch-ready", persist_result=True)
@taken_once
def watch_ready(capability: str | None = None, at: str | None = None) -> dict[str, Any]:
    """Look whether ready models are asked about what they were asked about at first: **judge → tell**.

    The newest calls of each model and version are compared with its first: sizes and levels of the inputs, how much was
    found, how sure the answers were. What moved is an alert. Nothing is retrained.

    Args:
        capability: Only this one; all, when left out.
        at: Event time of the look, ISO 8601; now, when left out.

    Returns:
        What `treadle ready watch --json` prints.
    """
    return tell_ready(judge_ready(capability, at))
