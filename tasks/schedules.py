"""A project's schedules: they are on from its first champion on, whoever promoted it; before there is nothing to watch."""

from __future__ import annotations

from tasks.step import step
from treadle.ledger import Ledger
from treadle.settings import Settings

SCHEDULED = ("train", "watch")


@step("turn schedules on", retries=2)
def turn_schedules_on(project: str) -> bool:
    """Turn on what the clock does for a project that has its first champion; later it is a person's to turn off.

    Returns:
        Whether its champion is the first.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    swap = Ledger.open(Settings()).last_promotion(project)
    if swap is None or swap.from_version is not None:
        return False
    with get_client(sync_client=True) as client:
        for flow in SCHEDULED:
            try:
                deployment = client.read_deployment_by_name(f"{flow}/{project}")
            except ObjectNotFound:  # `treadle up` has not been here yet; it turns them on itself
                continue
            for schedule in deployment.schedules:
                if not schedule.active:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    return True
