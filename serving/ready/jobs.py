"""Jobs over HTTP: what takes long is answered in the background, as a flow run of Prefect that people see there."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.door.access import asking
from serving.ready.work import Asked, ReadyModels
from treadle.capabilities import Capability
from treadle.capabilities.jobs import MOST_INPUTS, Job, Jobs
from treadle.capabilities.reading import check_inputs
from treadle.capabilities.sources import pick
from treadle.errors import NotFound, Unavailable
from treadle.keys import Role
from treadle.settings import Settings

DEPLOYMENT = "ready/ready"
TIMEOUT_S = 10.0
ENDED_BADLY = ("FAILED", "CRASHED", "CANCELLED")
_encode = msgspec.json.Encoder().encode


def add(app: FastAPI, ready: ReadyModels) -> None:
    """Add the route that says how a job is."""

    async def one(request: Request) -> Response:
        said = await asyncio.to_thread(_told, request, ready.settings)
        return Response(_encode(said), media_type="application/json")

    app.add_route("/v1/ready/jobs/{job}", one, methods=["GET"])


def is_wanted(request: Request) -> bool:
    """Whether a request says that it does not wait (RFC 7240)."""
    return "respond-async" in request.headers.get("prefer", "")


async def start(request: Request, ready: ReadyModels, capability: Capability, asked: Asked) -> Response:
    """Take a job; 202, and where to look.

    Raises:
        Unavailable: Prefect is not there; nothing was taken.
    """
    job = await asyncio.to_thread(_start, request, ready, capability, asked)
    place = f"/v1/ready/jobs/{job.id}"
    said = {"id": job.id, "state": job.state, "inputs": job.inputs, "capability": capability.name, "status_url": place}
    headers = {"Location": place, "Preference-Applied": "respond-async"}
    return Response(_encode(said), 202, headers, media_type="application/json")


def _start(request: Request, ready: ReadyModels, capability: Capability, asked: Asked) -> Job:
    settings = ready.settings
    capability.parse(asked.parameters)
    check_inputs(capability.takes, asked.inputs, replace(ready.pool.limits, inputs=MOST_INPUTS))
    pick(capability.name, asked.model, settings)
    ready.take(request, len(asked.inputs))
    who = asking(request.scope)
    jobs = Jobs(settings)
    job = jobs.create(capability.name, asked.model, asked.inputs, asked.parameters, who.key_id, who.name)
    try:
        deployment = _prefect(settings, f"deployments/name/{DEPLOYMENT}", None)["id"]
        run = _prefect(settings, f"deployments/{deployment}/create_flow_run", {"parameters": {"job": job.id}})
    except (OSError, ValueError, KeyError) as error:
        jobs.remove(job.id)
        raise Unavailable(
            "Jobs run in Prefect, which does not answer; start it with `treadle up`, or ask without `Prefer`."
        ) from error
    return jobs.change(job.id, flow_run=run["id"])


def _told(request: Request, settings: Settings) -> dict[str, Any]:
    """A job as its owner sees it."""
    jobs = Jobs(settings)
    job = jobs.read(request.path_params["job"])
    who = asking(request.scope)
    if who.key_id != job.key_id and who.role < int(Role.ADMIN):
        raise NotFound("There is no job of that id; jobs are kept for a week.")
    job = _followed(jobs, job, settings)
    said = {"id": job.id, "capability": job.capability, "state": job.state, "inputs": job.inputs, "done": job.done}
    said |= {"error": job.error, "run_url": f"{settings.prefect_url}/runs/flow-run/{job.flow_run}"}
    return said | ({"answers": jobs.answers(job.id)} if job.state == "completed" else {})


def _followed(jobs: Jobs, job: Job, settings: Settings) -> Job:
    """The job; one whose run ended badly without saying so, such as by a kill, has failed."""
    if job.state in ("completed", "failed") or job.flow_run is None:
        return job
    try:
        run = _prefect(settings, f"flow_runs/{job.flow_run}", None)
    except (OSError, ValueError):
        return job
    if run.get("state_type") not in ENDED_BADLY:
        return job
    return jobs.change(job.id, state="failed", error=f"Its run ended as {run['state_type'].lower()}.")


def _prefect(settings: Settings, path: str, body: dict[str, Any] | None) -> Any:
    """Ask Prefect's API, with a body by POST.

    Raises:
        OSError: It does not answer, or says no.
    """
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{settings.prefect_url}/api/{path}", content)  # noqa: S310 - our own server
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - our own server
        return json.loads(response.read())
