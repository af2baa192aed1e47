"""Decide: whether a verdict starts a retrain, by the project's policy; every answer with its reason in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run

from tasks.step import step
from treadle.ledger import Ledger
from treadle.ledger.triggers import Trigger
from treadle.project import load_project
from treadle.retraining.governor import Governor, Outcome, Standing
from treadle.retraining.policy import harm_of
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings

EVENT = "treadle.retrain.requested"


@step("decide retrain", retries=2)
def decide_retrain(name: str, at: str | None, look: dict[str, Any]) -> dict[str, Any]:
    """Weigh a look's verdict; if it passes, the decision is recorded and the train deployment is asked for.

    Args:
        name: The project.
        at: Event time of the look; now, when left out.
        look: Its verdict and reason, and what is known of impact and findings.

    Returns:
        `retrain`, `retrain_reason`, and `suppressed`: the rule that said no, or `None`.
    """
    settings = Settings()
    project, moment = load_project(name, settings), parse_moment(at) or datetime.now(UTC)
    governor = Governor(Ledger.open(settings), project)
    outcome = governor.weigh(look["verdict"], look["reason"], moment, harm_of(look), flow_run.id)
    for trigger in outcome.ask:
        _ask_for(trigger)
        governor.asked(trigger.seq)
    create_markdown_artifact(
        key=f"{name}-decision",
        markdown=_page(outcome, governor.standing(moment)),
        description=outcome.decision.reason,
    )
    decision = outcome.decision
    return {"retrain": decision.retrain, "retrain_reason": decision.reason, "suppressed": decision.rule}


def _ask_for(trigger: Trigger) -> None:
    """Emit the event that starts the train deployment; said twice it does no harm, since one run alone may begin."""
    emit_event(
        event=EVENT,
        resource={"prefect.resource.id": f"treadle.project.{trigger.model}"},
        payload={
            "project": trigger.model,
            "at": trigger.at.isoformat(),
            "reason": trigger.verdict,
            "trigger": str(trigger.seq),
        },
    )


def _page(outcome: Outcome, standing: Standing) -> str:
    """The decision as the Prefect UI shows it: in words first, then what was suppressed so far."""
    decision = outcome.decision
    by_rule = f" by the rule `{decision.rule}`" if decision.rule else ""
    lines = [f"**{'Retrain' if decision.retrain else 'No retrain'}{by_rule}.** {decision.reason}"]
    if standing.breaker:
        lines += ["", f"**The breaker is open.** {standing.breaker}"]
    if standing.suppressed:
        lines += ["", "| triggers suppressed by | times |", "|---|---|"]
        lines += [f"| {rule} | {times} |" for rule, times in standing.suppressed.items()]
    if standing.waiting:
        lines += ["", f"{standing.waiting} of them wait; all together become at most one retrain."]
    return "\n".join(lines)
