"""Commands on the governor and on labels that are set aside: look at both, close the breaker, release or drop."""

from __future__ import annotations

from typing import Any

from console.keys import whoami
from console.output import pairs, table
from treadle.ledger import Ledger
from treadle.ledger import set_aside as aside
from treadle.ledger.slots import last_slots
from treadle.ledger.triggers import Trigger
from treadle.pages.look import moment
from treadle.project import load_project
from treadle.retraining.breaker import close_breaker
from treadle.retraining.governor import Governor
from treadle.retraining.policy import say_policy
from treadle.settings import Settings

MOST_DECISIONS = 500
"""In so many of the newest decisions is what came of a trigger looked for."""


def status(settings: Settings, name: str, last: int) -> dict[str, Any]:
    """How retrains of a project stand now, and its newest triggers, newest first.

    Raises:
        NotFound: There is no such project.
    """
    ledger = Ledger.open(settings)
    project = load_project(name, settings)
    governor = Governor(ledger, project)
    standing = governor.standing()
    became = outcomes(ledger, name)
    return {
        "project": name,
        "policy": say_policy(project.retrain),
        "breaker": standing.breaker,
        "rejected_in_a_row": standing.turned_down,
        "followed": standing.followed,
        "waiting": standing.waiting,
        "asked": standing.asked and as_row(standing.asked),
        "retrains_today": standing.retrains_today,
        "suppressed": standing.suppressed,
        "labels_set_aside": sum(batch.labels for batch in aside.batches(ledger, name)),
        "slots": _slots(ledger, name),
        "triggers": [as_row(trigger) | {"outcome": became.get(trigger.run_id)} for trigger in governor.last(last)],
    }


def _slots(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """The newest slot of each scheduled flow, and how many other runs came for it."""
    return [
        {"flow": flow, "slot": slot.isoformat(timespec="seconds"), "run": run, "spared_runs": spared}
        for flow in ("watch", "train")
        for slot, run, spared in last_slots(ledger, flow, name, 1)
    ]


def outcomes(ledger: Ledger, name: str) -> dict[str | None, dict[str, str]]:
    """What came of each train run, by its id: `kind` of the decision with which it ended, and `reason`."""
    found: dict[str | None, dict[str, str]] = {}
    for decision in ledger.last_decisions(name, MOST_DECISIONS):
        run = decision.figures.get("flow_run")
        if run is not None:
            found.setdefault(str(run), {"kind": decision.kind, "reason": decision.reason})
    return found


def as_row(trigger: Trigger) -> dict[str, Any]:
    """A trigger as people and programs may see it."""
    return {
        "trigger": trigger.seq,
        "at": trigger.at.isoformat(timespec="seconds"),
        "verdict": trigger.verdict,
        "state": trigger.state,
        "rule": trigger.rule,
        "answered_by": trigger.answer,
        "reason": trigger.reason,
    }


def shown(found: dict[str, Any]) -> str:
    """The status as a person reads it."""
    record = {
        "policy": found["policy"],
        "breaker": found["breaker"] or f"closed ({found['rejected_in_a_row']} challengers turned down in a row)",
        **({"stream": found["followed"]} if found["followed"] else {}),
        "retrains in the last 24 hours": found["retrains_today"],
        "triggers that wait": found["waiting"],
        "asked for, not begun": found["asked"]["reason"] if found["asked"] else "none",
        "labels set aside": found["labels_set_aside"],
    }
    parts = [pairs(record)]
    if found["suppressed"]:
        rows = [{"suppressed by": rule, "triggers": times} for rule, times in found["suppressed"].items()]
        parts.append(table(rows, ["suppressed by", "triggers"]))
    if found["slots"]:
        parts.append(table(found["slots"], ["flow", "slot", "spared_runs"]))
    if found["triggers"]:
        rows = [
            row | {"at": moment(row["at"]), "came of it": (row["outcome"] or {}).get("kind", "")}
            for row in found["triggers"]
        ]
        parts.append(table(rows, ["trigger", "at", "state", "came of it", "reason"]))
    return "\n\n".join(parts)


def close(settings: Settings, name: str) -> dict[str, Any]:
    """Close the breaker; how many challengers in a row had been turned down.

    Raises:
        NotFound: There is no such project.
    """
    turned_down = close_breaker(Ledger.open(settings), load_project(name, settings), whoami())
    return {"project": name, "breaker": "closed", "rejected_in_a_row": turned_down}


def set_aside(settings: Settings, name: str) -> list[dict[str, Any]]:
    """What is set aside of a project's labels, newest batch first.

    Raises:
        NotFound: There is no such project.
    """
    load_project(name, settings)
    return [
        {
            "batch": batch.batch,
            "key": batch.key_id,
            "labels": batch.labels,
            "since": batch.since.isoformat(timespec="seconds"),
            "until": batch.until.isoformat(timespec="seconds"),
            "reason": batch.reason,
        }
        for batch in aside.batches(Ledger.open(settings), name)
    ]


def release_labels(settings: Settings, name: str, batch: int | None) -> dict[str, Any]:
    """Count labels again, and learn from them.

    Raises:
        NotFound: There is no such project, or nothing such is set aside.
    """
    load_project(name, settings)
    return {"project": name, "released": aside.release(Ledger.open(settings), name, whoami(), batch)}


def drop_labels(settings: Settings, name: str, batch: int | None) -> dict[str, Any]:
    """Delete labels that are set aside.

    Raises:
        NotFound: There is no such project, or nothing such is set aside.
    """
    load_project(name, settings)
    return {"project": name, "dropped": aside.drop(Ledger.open(settings), name, whoami(), batch)}
