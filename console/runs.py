"""Flows as commands: in this process, with the platform's Prefect server or one for the run; or in the worker."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from console import health
from console.platform import adopt_environment, is_up, prefect_server, wait_for_server
from console.progress import CEREMONY, ENVIRONMENT, say
from treadle.errors import TreadleError, Unavailable
from treadle.settings import Settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class RunError(TreadleError):
    """A run in the worker that did not complete."""

    exit_code = 1
    status = 500
    title = "Run failed"


def run_here(settings: Settings, flow: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a flow in this process, so that its progress is this terminal's and Ctrl-C ends it.

    The flow's imports and the start of a Prefect server of its own overlap.

    Raises:
        TreadleError: What the flow itself raised.
    """
    os.environ.update(ENVIRONMENT)
    alone = "" if is_up(settings) else " with a Prefect server of its own, since the platform is down"
    say(f"Starting {flow} of {arguments['project']}{alone} …")
    with prefect_server(settings) as url:
        function: Callable[..., Any] = getattr(importlib.import_module(f"flows.{flow}"), flow)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        wait_for_server(url)
        return dict(function(**{name: value for name, value in arguments.items() if value is not None}))


def run_deployed(settings: Settings, flow: str, project: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Have the worker run a deployment and wait for it. Ctrl-C leaves the run alone.

    Returns:
        What the flow returned.

    Raises:
        Unavailable: The platform is down.
        RunError: The run failed, crashed or was cancelled; the message is the run's own.
    """
    if not is_up(settings):
        raise Unavailable("The platform is down, so there is no worker; start it with `treadle up --detach`.")
    adopt_environment(settings, settings.prefect_url)
    wait_for_server(settings.prefect_url)
    from prefect.client.orchestration import get_client

    parameters = {"project": project} | {name: value for name, value in arguments.items() if value is not None}
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{flow}/{project}")
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        say(f"Run '{run.name}' in the worker: {settings.prefect_url}/runs/flow-run/{run.id}")
        _follow_run(settings, str(run.id))
        run = client.read_flow_run(run.id)
        if run.state is None or not run.state.is_completed():
            message = run.state.message if run.state else "it has no state"
            raise RunError(
                f"Run '{run.name}' is {run.state_name}: {message} See {settings.prefect_url}/runs/flow-run/{run.id}"
            )
        return _result_of(run, project)


def _result_of(run: FlowRun, project: str) -> dict[str, Any]:
    """What a completed run returned; its id alone, when Prefect was not told to keep the result."""
    from prefect.exceptions import MissingResult

    try:
        returned: Any = run.state.result() if run.state else {}
        return dict(returned)
    except MissingResult:
        return {"project": project, "flow_run": str(run.id), "state": run.state_name}


def _follow_run(settings: Settings, run_id: str, poll_s: float = 1.0) -> None:
    """Print each step that is done and the run's log as it grows, until the run has ended."""
    seen: set[str] = set()
    ended, begun = False, time.monotonic()
    while not ended:
        time.sleep(poll_s)
        ended = _poll(settings, f"/flow_runs/{run_id}", None)["state_type"] in FINAL
        query = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": 200}
        for line in reversed(_poll(settings, "/logs/filter", query)):
            if line["id"] not in seen and not line["message"].startswith(CEREMONY):
                say(f"{time.monotonic() - begun:6.1f} s  {line['message'].partition(chr(10))[0]}")
            seen.add(line["id"])
        steps = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC"}
        for task in _poll(settings, "/task_runs/filter", steps):
            if task["id"] not in seen and task["state_type"] == "COMPLETED":
                seen.add(task["id"])
                say(f"{time.monotonic() - begun:6.1f} s  {task['name'].rpartition('-')[0]}: done")


def _poll(settings: Settings, path: str, body: dict[str, Any] | None, patience_s: float = 60.0) -> Any:
    """Ask Prefect; its restart by the supervisor is waited out, the end of the platform is not.

    Raises:
        Unavailable: The platform went down, or Prefect does not come back.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return health.fetch(f"{settings.prefect_url}/api{path}", body)
        except health.FAILURES as error:
            if not is_up(settings):
                raise Unavailable(
                    "The platform went down, and the run with it; `treadle up --detach`, then run it again."
                ) from error
            if time.monotonic() > deadline:
                raise Unavailable(
                    "Prefect no longer answers; see `treadle status`. The run itself may go on."
                ) from error
            time.sleep(1)


def under_way(settings: Settings) -> list[str]:
    """The names of the runs that Prefect calls running; none while the platform is down."""
    if not is_up(settings):
        return []
    query = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    try:
        return [run["name"] for run in health.fetch(f"{settings.prefect_url}/api/flow_runs/filter", query)]
    except health.FAILURES:
        return []
