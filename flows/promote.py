"""The promote flow: a challenger that waits for a person. Suspended while it waits, so no worker or lock is held."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from tasks.promote import describe_challenger, settle_challenger
from tasks.schedules import turn_schedules_on


class Approval(RunInput):
    """What the person who looks at the challenger answers."""

    approve: bool = False
    comment: str = ""


@flow(name="promote", flow_run_name="{project}: promote version {version}?", persist_result=True)
def promote(project: str, version: int) -> dict[str, Any]:
    """Ask a person whether the challenger shall replace the champion, then do as they say.

    The run is suspended until somebody presses **Resume** in this page and fills in the form. A champion that changed
    in the meantime is not overwritten: the answer is a conflict, and the next train decides anew.

    Args:
        project: A folder in `projects/`.
        version: The version that waits.

    Returns:
        The decision, its reason, and the champion's version after it.
    """
    question = describe_challenger(project, version)
    answer = suspend_flow_run(
        wait_for_input=Approval.with_initial_data(description=question.markdown),
        timeout=7 * 24 * 3600,
        key=f"approve-{version}",
    )
    settled = settle_challenger(project, version, question.expected, answer.approve, answer.comment)
    turn_schedules_on(project)
    return settled
