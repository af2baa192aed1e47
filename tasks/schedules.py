"""A project's schedules: they are on from its first champion on, whoever promoted it; before there is nothing to watch."""

from __future__ import annotations

from tasks.step import step
from treadle.ledger import Ledger
from treadle.settings import Settings

SCHEDULED = ("train", "watch")
SERVED = "served"
"""A tag of deployments whose schedules a champion has turned on: since then it is a person's to turn them off."""


@step("turn schedules on", retries=2)
def turn_schedules_on(project: str) -> list[str]:
    """Turn on what the clock does for a project that has its first champion.

    Returns:
        The flows whose schedules were turned on now.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound

    if Ledger.open(Settings()).champion(project) is None:
        return []
    on = []
    with get_client(sync_client=True) as client:
        for flow in SCHEDULED:
            try:
                deployment = client.read_deployment_by_name(f"{flow}/{project}")
            except ObjectNotFound:  # `treadle up` has not been here yet; it turns them on itself
                continue
            if SERVED in deployment.tags:
                continue
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=True)
            client.update_deployment(deployment.id, DeploymentUpdate(tags=[*deployment.tags, SERVED]))
            on.append(flow)
    return on
