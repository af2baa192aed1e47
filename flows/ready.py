"""The ready flow: a job of a ready model, answered in the background."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.ready import answer_inputs


@flow(name="ready", flow_run_name="job {job}", persist_result=True)
def ready(job: str) -> dict[str, Any]:
    """Answer every input of a job; a killed run goes on where it stopped.

    Args:
        job: Its id, as `POST /v1/ready/{capability}` with `Prefer: respond-async` gave it.

    Returns:
        The job's id, its capability, how many inputs it had, and its state.
    """
    return answer_inputs(job)
