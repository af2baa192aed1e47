"""Promote: the challenger's rehearsal against the champion on rows that neither has learned from; one compare-and-swap."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from prefect.artifacts import create_markdown_artifact

from tasks.evaluate import judge_part
from tasks.fit import parts_of
from tasks.step import step
from treadle.answering import open_version
from treadle.errors import Conflict, NotFound
from treadle.gate import Gate, compare
from treadle.labeling import event_days
from treadle.ledger import Champion, Ledger, Releases
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.registry import Registry
from treadle.rollout import begin_release
from treadle.schema import Schema
from treadle.settings import Settings
from treadle.turn import Registered, Rows, Turn, Verdict


@dataclass(frozen=True)
class Question:
    """What a person is asked about a challenger, and the champion it was compared with."""

    markdown: str
    expected: int | None


@step("promote model", retries=2)
def promote_model(turn: Turn, rows: Rows, version: Registered) -> Verdict:
    """Compare, then promote, keep or ask; the figures and the reason are stored whatever comes out."""
    settings = Settings()
    project = load_project(turn.project, settings)
    ledger = Ledger.open(settings)
    if version.version is None:
        return _record(ledger, turn, Verdict("rejected", version.reason, None, None, None), {})
    for _ in range(5):  # somebody else may promote in between: compare again, with the new champion
        champion = ledger.champion(project.name)
        gate = _hold_gate(turn, rows, project, champion)
        gate = replace(
            gate, reason=f"{gate.reason} {_say_holdout(turn, rows, project, version.version, champion)}".strip()
        )
        try:
            return _act_on(turn, project, ledger, version.version, champion, gate)
        except Conflict:
            continue
    raise Conflict(f"The champion of '{project.name}' changed five times during the comparison; run the train again.")


def _hold_gate(turn: Turn, rows: Rows, project: Project, champion: Champion | None) -> Gate:
    """The rehearsal's answers against the champion's, or against the trivial baseline when there is no champion."""
    settings = Settings()
    schema = Schema.load(turn.path("schema.json"))
    problem = load_problem(project.problem)
    test = parts_of(turn, rows, judge_part(turn))
    with np.load(turn.path("judged.npz")) as kept:
        y, challenger = kept["y"], kept["answer"]
    if champion is None:
        train = problem.encode_target(parts_of(turn, rows, "train", "valid")[schema.target], schema)
        other, versus = problem.baseline(train, len(y)), "the trivial baseline"
    else:
        served = open_version(settings, Ledger.open(settings), project.name, champion.version)
        other, versus = served.answer(test), f"the champion (version {champion.version})"
    return compare(
        y,
        other,
        challenger,
        problem,
        pick_metric(problem, project.promote.metric),
        min_gain=project.promote.min_gain if champion else 0.0,
        confidence=project.promote.confidence,
        blocks=event_days(test) if schema.time else None,
        seed=project.split.seed,
        versus=versus,
    )


def _say_holdout(turn: Turn, rows: Rows, project: Project, version: int, champion: Champion | None) -> str:
    """The frozen holdout, which does not decide: what both versions, as they would serve, make of it."""
    held = parts_of(turn, rows, "holdout")
    if not len(held) or judge_part(turn) == "holdout":
        return ""
    settings = Settings()
    ledger, problem = Ledger.open(settings), load_problem(project.problem)
    schema = Schema.load(turn.path("schema.json"))
    metric = problem.metrics[pick_metric(problem, project.promote.metric)]
    y = problem.encode_target(held[schema.target], schema)
    scores = [
        f"{metric.score(y, open_version(settings, ledger, project.name, number).answer(held)):.4g} by version {number}"
        for number in (version, *([champion.version] if champion else []))
    ]
    return f"On the frozen holdout ({len(held):,} rows, beside the decision): {', '.join(scores)}."


def _act_on(
    turn: Turn, project: Project, ledger: Ledger, version: int, champion: Champion | None, gate: Gate
) -> Verdict:
    """Turn the gate's answer into a verdict, and the verdict into a champion."""
    old = gate.champion if champion else None
    if not gate.promote:
        decision = "kept" if champion else "rejected"
        return _record(ledger, turn, Verdict(decision, gate.reason, old, gate.challenger, gate.interval), asdict(gate))
    if champion is not None and project.serve.challenger != "off":
        verdict = try_live(project, ledger, version, gate, turn.fence)
        return _record(ledger, turn, verdict, asdict(gate) | {"version": version})
    if project.promote.approval == "human":
        reason = f"{gate.reason} It waits for a person: see the promote run in the Prefect UI."
        verdict = Verdict("pending-approval", reason, old, gate.challenger, gate.interval)
        _ask(project.name, version)
        return _record(ledger, turn, verdict, asdict(gate) | {"version": version, "expected": _version_of(champion)})
    Registry(Settings(), ledger).promote(
        project.name,
        version,
        _version_of(champion),
        reason=gate.reason,
        figures=asdict(gate),
        at=turn.moment,
        lease_fence=turn.fence,
    )
    return _record(ledger, turn, Verdict("promoted", gate.reason, old, gate.challenger, gate.interval), asdict(gate))


def try_live(project: Project, ledger: Ledger, version: int, gate: Gate, lease_fence: int | None) -> Verdict:
    """Try a challenger that passed the gate on live requests first; one that is tried already makes way for it.

    Raises:
        Conflict: Another release, champion or lease came first.
    """
    mode = "canary" if project.serve.challenger == "canary" else "shadow"
    before = Releases(ledger).running().get(project.name)
    begin_release(ledger, project, version, mode, lease_fence=lease_fence)
    way = f" It takes the place of version {before.version}, which was being tried." if before else ""
    reason = f"{gate.reason} It is tried as {mode} on live requests now.{way}"
    return Verdict("released", reason, gate.champion, gate.challenger, gate.interval)


def _version_of(champion: Champion | None) -> int | None:
    return champion.version if champion else None


def _record(ledger: Ledger, turn: Turn, verdict: Verdict, figures: dict[str, Any]) -> Verdict:
    ledger.record_decision(turn.project, verdict.decision, verdict.reason, figures, turn.moment)
    create_markdown_artifact(
        key=f"{turn.project}-gate", markdown=f"**{verdict.decision}.** {verdict.reason}", description=verdict.decision
    )
    return verdict


def _ask(name: str, version: int) -> None:
    """Start the promote run that waits for a person; the train run ends and holds nothing."""
    from prefect.deployments import run_deployment

    run_deployment(f"promote/{name}", parameters={"project": name, "version": version}, timeout=0, as_subflow=False)


@step("describe challenger")
def describe_challenger(name: str, version: int) -> Question:
    """What the person who decides should know.

    Raises:
        NotFound: No gate was recorded for this version.
    """
    ledger = Ledger.open(Settings())
    for decision in ledger.last_decisions(name, 100, kind="pending-approval"):
        if decision.figures.get("version") == version:
            text = f"### Shall version {version} of {name} become champion?\n\n{decision.reason}"
            return Question(text, decision.figures.get("expected"))
    raise NotFound(f"Version {version} of '{name}' does not wait for approval. `treadle models {name}` lists versions.")


@step("settle challenger")
def settle_challenger(
    name: str, version: int, expected: int | None, approve: bool, comment: str
) -> dict[str, str | int | None]:
    """Do as the person said.

    Raises:
        Conflict: The champion is not the one that the challenger was compared with any more.
    """
    settings = Settings()
    ledger = Ledger.open(settings)
    said = f"{'Approved' if approve else 'Refused'} by a person{f': {comment}' if comment else '.'}"
    if approve:
        Registry(settings, ledger).promote(name, version, expected, reason=said, verdict="approved", who="person")
    decision = "promoted" if approve else "kept"
    ledger.record_decision(name, decision, said, {"version": version}, datetime.now(UTC))
    champion = ledger.champion(name)
    return {"decision": decision, "reason": said, "champion": champion.version if champion else None}
