"""What Prefect must know of this home: the work pool, the deployments of every project and of ready models' jobs, automations.

Running it again changes only what differs. Talks to the Prefect server that the environment names; imports no flow.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from treadle.errors import TreadleError
from treadle.project import Project, list_projects, load_project
from treadle.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

WORK_POOL = "treadle"
TAG = "treadle"
PAGE = 200
"""Most deployments in one answer of Prefect's."""
FLOWS = ("train", "watch", "score", "replay", "promote")
NIGHTLY = "0 3 * * *"
READY_EVERY = timedelta(hours=1)
RETRAIN_EVENT = "treadle.retrain.requested"
SILENT_FOR = timedelta(seconds=90)
"""Three missed heartbeats; Prefect's shortest interval between two is 30 s."""
CRASH_SILENT_RUNS = "treadle: a silent run has crashed"


def set_up(settings: Settings) -> list[str]:
    """Make the work pool, the deployments and the automations match the projects of this home.

    A project whose file cannot be read is left out, with a line on standard error; the others are deployed.

    Returns:
        The names of the deployments, `flow/project`.
    """
    from prefect.client.orchestration import get_client

    from tasks.schedules import SERVED

    projects = _readable_projects(settings)
    deployed: dict[str, UUID] = {}
    with get_client(sync_client=True) as client:
        _set_up_work_pool(client)
        flows = {name: (client.create_flow_from_name(name), *_describe_flow(name)) for name in FLOWS}
        champions = _served(settings)
        switches = _switches(client, {flow_id: name for name, (flow_id, *_) in flows.items()})
        for project in projects:
            served = project.name in champions
            for flow, (flow_id, description, schema) in flows.items():
                deployed[f"{flow}/{project.name}"] = client.create_deployment(
                    flow_id=flow_id,
                    name=project.name,
                    entrypoint=f"flows.{flow}.{flow}",
                    description=description,
                    parameters={"project": project.name},
                    parameter_openapi_schema=schema,
                    enforce_parameter_schema=True,
                    schedules=_schedules(
                        flow, project, served, switches.get(f"{flow}/{project.name}", {}) if served else {}
                    ),
                    work_pool_name=WORK_POOL,
                    job_variables={"working_dir": str(settings.home)},
                    tags=[TAG, project.name, *([SERVED] if served else [])],
                    paused=False,
                )
        deployed["ready/ready"] = _deploy_alone(client, settings, "ready", "ready", [])
        deployed["watch-ready/ready"] = _deploy_alone(client, settings, "watch-ready", "watch_ready", [_ready_looks()])
        _set_up_automations(client, {name: deployed[f"train/{name}"] for name in (p.name for p in projects)})
        _remove_departed(client, set(deployed))
    return sorted(deployed)


def _deploy_alone(
    client: SyncPrefectClient, settings: Settings, flow: str, module: str, schedules: list[DeploymentScheduleCreate]
) -> UUID:
    """A deployment that belongs to no project: the jobs of ready models, and the looks at them."""
    description, schema = _describe_flow(module)
    return client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        name="ready",
        entrypoint=f"flows.{module}.{module}",
        description=description,
        parameter_openapi_schema=schema,
        enforce_parameter_schema=True,
        schedules=schedules,
        work_pool_name=WORK_POOL,
        job_variables={"working_dir": str(settings.home)},
        tags=[TAG],
        paused=False,
    )


def _readable_projects(settings: Settings) -> list[Project]:
    projects = []
    for name in list_projects(settings):
        try:
            projects.append(load_project(name, settings))
        except TreadleError as error:
            print(f"Not deployed: {error}", file=sys.stderr)  # noqa: T201
    return projects


def _served(settings: Settings) -> set[str]:
    """The projects that have a champion: only those are watched and retrained by the clock."""
    from treadle.ledger import Ledger

    ledger = Ledger.open(settings)
    return {name for name in list_projects(settings) if ledger.champion(name) is not None}


def _set_up_work_pool(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(
            name=WORK_POOL,
            type="process",
            description="Runs on this machine, by `treadle up`.",
            base_job_template=template,
        )
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            return


def _describe_flow(name: str) -> tuple[str, dict[str, Any]]:
    """A flow's docstring and the schema of its parameters, from its source: importing it would cost seconds."""
    from prefect.utilities.callables import parameter_schema_from_entrypoint

    spec = importlib.util.find_spec(f"flows.{name}")
    source = Path(str(spec.origin if spec else "")).read_text(encoding="utf-8")
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    docstring = ast.get_docstring(next(functions)) or ""
    return docstring, parameter_schema_from_entrypoint(f"flows.{name}.{name}").model_dump_for_openapi()


def _switches(client: SyncPrefectClient, flows: dict[UUID, str]) -> dict[str, dict[str, bool]]:
    """By deployment and schedule whether it is on, of those that a champion turned on before."""
    from tasks.schedules import SERVED

    return {
        f"{flows[found.flow_id]}/{found.name}": {str(way.slug): way.active for way in found.schedules}
        for found in _ours(client)
        if SERVED in found.tags and found.flow_id in flows
    }


def _ours(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """All deployments of this home, however many."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG], is_null_=None))
    found: list[DeploymentResponse] = []
    while len(found) % PAGE == 0:
        page = client.read_deployments(deployment_filter=ours, limit=PAGE, offset=len(found))
        if not page:
            break
        found += page
    return found


def _schedules(flow: str, project: Project, served: bool, switches: dict[str, bool]) -> list[DeploymentScheduleCreate]:
    """When the clock runs a flow: from the first champion on, unless somebody has turned it off since (`switches`)."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if flow == "train":
        nightly = CronSchedule(cron=NIGHTLY)
        return [
            DeploymentScheduleCreate(
                schedule=nightly,
                active=switches.get("nightly", served),
                slug="nightly",
                parameters={"reason": "nightly"},
            )
        ]
    if flow == "watch":
        regularly = IntervalSchedule(interval=project.watch.every, anchor_date=datetime(2026, 1, 1, tzinfo=UTC))
        return [
            DeploymentScheduleCreate(schedule=regularly, active=switches.get("regularly", served), slug="regularly")
        ]
    return []


def _ready_looks() -> DeploymentScheduleCreate:
    """When ready models are looked at; a look at one that nobody asked since costs a query."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    hourly = IntervalSchedule(interval=READY_EVERY, anchor_date=datetime(2026, 1, 1, tzinfo=UTC))
    return DeploymentScheduleCreate(schedule=hourly, active=True, slug="regularly")


def _set_up_automations(client: SyncPrefectClient, trains: dict[str, UUID]) -> None:
    """Create or update ours, and delete those of projects that are gone."""
    from prefect.events.schemas.automations import AutomationCore

    wanted = [_crash_silent_runs(), *(_retrain_on_event(name, deployment) for name, deployment in trains.items())]
    existing = {found.name: found for found in client.read_automations(limit=200) if found.name.startswith("treadle: ")}
    for automation in wanted:
        found = existing.pop(automation.name, None)
        if found is None:
            client.create_automation(automation)
        elif _essence(AutomationCore.model_validate(found.model_dump())) != _essence(automation):
            client.update_automation(found.id, automation)
    for departed in existing.values():
        client.delete_automation(departed.id)


def _essence(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(mode="json", include={"name", "description", "enabled", "trigger", "actions"})


def _retrain_on_event(project: str, deployment: UUID) -> AutomationCore:
    """Run the train deployment whenever the watch flow asks for it, at the event's own time and for its reason."""
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=f"treadle: retrain {project} when asked",
        description=f"The watch flow emits `{RETRAIN_EVENT}` when {project} no longer holds and may be retrained.",
        enabled=True,
        trigger=EventTrigger(
            expect={RETRAIN_EVENT},
            match=ResourceSpecification({"prefect.resource.id": f"treadle.project.{project}"}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                job_variables=None,
                parameters={
                    "project": project,
                    "at": {"__prefect_kind": "jinja", "template": "{{ event.payload.at }}"},
                    "reason": {"__prefect_kind": "jinja", "template": "{{ event.payload.reason }}"},
                    "trigger": {"__prefect_kind": "jinja", "template": "{{ event.payload.trigger }}"},
                },
            )
        ],
    )


def _crash_silent_runs() -> AutomationCore:
    """Call a run crashed when its heartbeat stops: its process was killed and could not say so itself.

    A run that ended, or that waits for a person or a retry, is silent by right.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    ends = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused", "AwaitingRetry", "Cached")
    return AutomationCore(
        name=CRASH_SILENT_RUNS,
        description="A run whose heartbeats stop for 90 s lost its process.",
        enabled=True,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT_FOR,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="Its heartbeats stopped: the process is gone.", name=None, force=False
            )
        ],
    )


def _remove_departed(client: SyncPrefectClient, deployed: set[str]) -> None:
    """Delete our deployments of projects that are no longer there."""
    flows = {client.create_flow_from_name(name): name for name in FLOWS}
    for deployment in _ours(client):
        flow = flows.get(deployment.flow_id)
        if flow and f"{flow}/{deployment.name}" not in deployed:
            client.delete_deployment(deployment.id)
