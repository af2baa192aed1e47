"""The replay flow: a past stream sent to the running platform as live traffic, by its own event times."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.watch import watch
from tasks.replay import background_caller, plan_replay, send_step, summarize_replay, wait_for_swap


@flow(name="replay", flow_run_name="{project}: replay {stream}")
def replay(
    project: str, stream: str = "data/stream.parquet", step: str = "2w", label_delay: str = "7d", pace_per_s: float = 10
) -> dict[str, Any]:
    """Replay a past stream over HTTP: each row is predicted before its label is known, labels come back late.

    After each step the watch flow looks at its window. If it asks for a retrain, the event and the automation start
    the deployed train flow; the replayed clock waits for it and for the service to swap, while a background caller
    goes on at a steady rate and counts what fails.

    Args:
        project: A folder in `projects/`, trained and served.
        stream: The table to replay, relative to the project's folder; needs the time column and the target.
        step: Event time between two looks.
        label_delay: Event time after which a row's label comes back.
        pace_per_s: Requests a second of the background caller.

    Returns:
        Error by month, retrains with their reasons, requests sent and failed.
    """
    plan = plan_replay(project, stream, step, label_delay)
    looks = []
    with background_caller(plan, pace_per_s) as caller:
        for number in range(plan.steps):
            until = send_step(plan, number)
            look = watch(project, at=until)
            looks.append(look | {"at": until, "train": wait_for_swap(plan, until) if look["retrain"] else None})
    return summarize_replay(plan, looks, caller)
