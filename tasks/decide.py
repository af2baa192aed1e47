"""Decide: whether a verdict starts a retrain, by the project's policy; every answer with its reason in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from tasks.step import step
from treadle.ledger import Ledger
from treadle.policy import Circumstances, decide
from treadle.project import load_project
from treadle.settings import Settings
from treadle.turn import parse_moment

EVENT = "treadle.retrain.requested"


@step("decide retrain", retries=2)
def decide_retrain(name: str, at: str | None, verdict: dict[str, Any]) -> dict[str, Any]:
    """Weigh a verdict; if it passes, record the decision and emit the event that starts the train deployment.

    Returns:
        `retrain` and `retrain_reason`.
    """
    settings = Settings()
    project = load_project(name, settings)
    ledger = Ledger.open(settings)
    moment = parse_moment(at) or datetime.now(UTC)
    decision = decide(verdict["verdict"], verdict["reason"], project, _circumstances(ledger, name, moment))
    ledger.record_decision(
        name, "retrain" if decision.retrain else "skip", decision.reason, {"verdict": verdict["verdict"]}, moment
    )
    if decision.retrain:
        emit_event(
            event=EVENT,
            resource={"prefect.resource.id": f"treadle.project.{name}"},
            payload={"project": name, "at": moment.isoformat(), "reason": verdict["verdict"]},
        )
    create_markdown_artifact(
        key=f"{name}-decision",
        markdown=f"**{'Retrain' if decision.retrain else 'No retrain'}.** {decision.reason}",
        description=decision.reason,
    )
    return {"retrain": decision.retrain, "retrain_reason": decision.reason}


def _circumstances(ledger: Ledger, name: str, moment: datetime) -> Circumstances:
    """What the policy weighs beside the verdict, all read from the ledger."""
    champion = ledger.champion(name)
    version = ledger.version(name, champion.version) if champion else None
    retrains = [d.at for d in ledger.last_decisions(name, 1000, kind="retrain")]  # the policy knows of clocks set back
    return Circumstances(
        at=moment,
        retrains=retrains,
        new_labels=ledger.count_labelled_since(name, version.data_until if version else None, until=moment),
        cpu_minutes=_spent_minutes(ledger, name, moment),
        in_flight=ledger.in_flight(name),
    )


def _spent_minutes(ledger: Ledger, name: str, moment: datetime) -> float:
    """CPU minutes of training in the 24 hours before."""
    spent = ledger.spent(name, moment - timedelta(days=1), moment)
    return spent.get("train", {}).get("cpu_seconds", 0.0) / 60
