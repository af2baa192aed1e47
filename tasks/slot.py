"""Slot: a flow that the clock or a trigger has begun makes sure, first of all, that no other run did so before it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec

from prefect.runtime import flow_run
from prefect.states import Completed

from treadle.ledger import Ledger
from treadle.ledger.slots import claim
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.retraining.policy import NIGHTLY
from treadle.settings import Settings

P = ParamSpec("P")
READY = "ready:"
"""Whose slots the flows are that belong to no project; no project has such a name."""
SCHEDULED = "auto-scheduled"
"""The tag that Prefect gives to runs of a schedule."""


def taken_once(function: Callable[P, dict[str, Any]]) -> Callable[P, Any]:
    """Let a flow end at once, completed with a plain message, when its slot or its trigger is another run's.

    Of the runs that a schedule made, each claims its slot, and a train then asks the governor; a train run that a
    trigger asked for takes the trigger up. Runs that people begin are nobody's second.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Any:
        given = signature.bind(*args, **kwargs)
        project, trigger = str(given.arguments.get("project", READY)), given.arguments.get("trigger")
        run_id = str(flow_run.id)
        why = _taken_up(project, trigger, run_id) if trigger else _claimed(function.__name__, project, run_id)
        if why:
            return Completed(name="Skipped", message=why, data={"project": project, "skipped": why})
        try:
            return function(*args, **kwargs)
        finally:
            if trigger:
                _governor(project).end(int(str(trigger)), run_id)

    return begin


def _taken_up(project: str, trigger: object, run_id: str) -> str | None:
    """Take a trigger up; or why not."""
    if not str(trigger).isdigit():
        return f"'{trigger}' is no trigger of '{project}'; leave `trigger` out to train by hand."
    return _governor(project).begin(int(str(trigger)), run_id)


def _claimed(flow: str, project: str, run_id: str) -> str | None:
    """Claim the slot of a scheduled run, and let the governor weigh a train; or why not."""
    if SCHEDULED not in flow_run.tags:
        return None
    settings = Settings()
    slot = datetime.fromisoformat(str(flow_run.scheduled_start_time)).astimezone(UTC)
    why = claim(Ledger.open(settings), flow, project, slot, run_id)
    if why or flow != "train":
        return why
    outcome = _governor(project).weigh(NIGHTLY, "the clock asks for it.", datetime.now(UTC), origin=run_id)
    return None if outcome.decision.retrain else outcome.decision.reason


def _governor(project: str) -> Governor:
    settings = Settings()
    return Governor(Ledger.open(settings), load_project(project, settings))
