"""Promote: the challenger against the champion on rows that neither has learned from; one compare-and-swap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from tasks.evaluate import judge_part
from tasks.fit import parts_of
from tasks.step import step
from tasks.steps import followed_with, note_step
from treadle.errors import Conflict, NotFound
from treadle.learning.split import MIN_JUDGES
from treadle.ledger import Champion, Ledger, Releases
from treadle.models.answering import open_version
from treadle.models.registry import Registry
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.promotion.bout import Bout
from treadle.promotion.duel import Duel, hold_duel
from treadle.promotion.gate import FEWEST, Gate
from treadle.promotion.live import live_quality, say_live
from treadle.promotion.rollout import begin_release
from treadle.retraining.steps import KIND, Followed, followed_of
from treadle.retraining.turn import Registered, Rows, Turn, Verdict
from treadle.settings import Settings
from treadle.tables.data import ROW
from treadle.tables.labeling import event_days
from treadle.tables.schema import Schema

NO_STEP = (
    "The stream is followed no more: another champion came while this step was made, or the project was changed. "
    "A step is not compared with that one, so it is not promoted; the next retrain waits for a verdict."
)


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
        if champion is not None and champion.version == version.version:
            return _as_it_stands(ledger, turn)
        followed = followed_of(ledger, project, champion.version if champion else None)
        if turn.is_step and followed is None:
            return _record(ledger, turn, Verdict("kept", NO_STEP, None, None, None), {"version": version.version})
        duel = _hold_duel(turn, rows, project, version.version, champion)
        try:
            return _act_on(turn, project, ledger, version.version, champion, duel, followed)
        except Conflict:
            continue
    raise Conflict(f"The champion of '{project.name}' changed five times during the comparison; run the train again.")


def _as_it_stands(ledger: Ledger, turn: Turn) -> Verdict:
    """The verdict on a version that is champion already: this step had promoted it, and failed before it could say so."""
    swap = ledger.last_promotion(turn.project)
    figures = swap.figures if swap is not None else {}
    reason = swap.reason if swap is not None else ""
    interval = figures.get("interval")
    found = Verdict(
        "promoted", reason, figures.get("champion"), figures.get("challenger"), tuple(interval) if interval else None
    )
    if figures.get(KIND) is not None:
        note_step(turn, ledger, Followed.of(figures[KIND]))
    return _record(ledger, turn, found, figures)


def loses_at_once(turn: Turn, rows: Rows, project: Project) -> bool:
    """Whether the rehearsal loses to the champion on the newest rows, so that its version will be turned down."""
    champion = Ledger.open(Settings()).champion(project.name)
    return champion is not None and not _hold_duel(turn, rows, project, None, champion).promote


def _hold_duel(turn: Turn, rows: Rows, project: Project, version: int | None, champion: Champion | None) -> Duel:
    """The rehearsal against the champion on the newest rows, and the version itself, if there is one, on the frozen holdout.

    Without a champion the other side is the trivial baseline.
    """
    settings, schema = Settings(), Schema.load(turn.path("schema.json"))
    ledger, problem = Ledger.open(settings), load_problem(project.problem)
    judged_on = judge_part(turn)
    test, held = parts_of(turn, rows, judged_on), parts_of(turn, rows, "holdout")
    if champion is None:
        train = problem.encode_target(parts_of(turn, rows, "train", "valid")[schema.target], schema)
        versus = "the trivial baseline"

        def other(frame: pd.DataFrame) -> np.ndarray:
            return problem.baseline(train, len(frame))
    else:
        other = open_version(settings, ledger, project.name, champion.version).answer
        versus = f"the champion (version {champion.version})"

    def bout(frame: pd.DataFrame, challenger: np.ndarray) -> Bout:
        y = problem.encode_target(frame[schema.target], schema)
        days = event_days(frame) if schema.time else None
        return Bout(y, other(frame), challenger, frame, days)

    with np.load(turn.path("judged.npz")) as kept:
        newest = replace(bout(test, kept["answer"]), givers=givers_of(test, ledger.givers(project.name)))
    beside = version if judged_on != "holdout" and len(held) >= FEWEST else None
    duel = hold_duel(
        newest,
        None if beside is None else bout(held, open_version(settings, ledger, project.name, beside).answer(held)),
        problem,
        pick_metric(problem, project.promote.metric),
        schema.hiding(project.privacy.personal),  # a slice is told by its value
        project.promote,
        seed=project.split.seed,
        live=live_quality(ledger, project.name, version, champion.version) if champion and version else None,
        versus=versus,
        has_champion=champion is not None,
    )
    if turn.is_step:
        return duel.as_step()  # the holdout looks at it, however many rows have come
    if champion is not None and judged_on == "holdout":
        duel = duel.on_holdout(MIN_JUDGES)
    at_every_window = champion is not None and project.retrain.policy == "every-window"
    return duel.unless_worse() if at_every_window else duel


def givers_of(frame: pd.DataFrame, known: dict[str, str]) -> np.ndarray:
    """Who gave each row's label (n,): a key's id, or `""` for rows of the table and labels that no key answers for."""
    return frame[ROW].str.removeprefix("p:").map(known).fillna("").to_numpy(dtype=object)


def _act_on(
    turn: Turn, project: Project, ledger: Ledger, version: int, champion: Champion | None, duel: Duel,
    followed: Followed | None,
) -> Verdict:  # fmt: skip
    """Turn the duel's answer into a verdict, and the verdict into a champion."""
    gate = replace(duel.gate, promote=duel.promote, reason=duel.reason)
    search = turn.read("search.json")["kind"]
    figures = duel.figures() | {"against": _version_of(champion), "search": search}
    old = gate.champion if champion else None
    if not gate.promote:
        decision = "kept" if champion else "rejected"
        if turn.is_step and followed is not None:
            said = "The stream is followed no more: a step was turned down, and the next would be made at once."
            ledger.record_decision(project.name, KIND, said, dict(followed.figures("over")), turn.moment)
        return _record(ledger, turn, Verdict(decision, gate.reason, old, gate.challenger, gate.interval), figures)
    if champion is not None and project.serve.challenger != "off":
        verdict = try_live(project, ledger, version, gate, turn.fence)
        return _record(ledger, turn, verdict, figures | {"version": version})
    if project.promote.approval == "human":
        reason = f"{gate.reason} It waits for a person: see the promote run in the Prefect UI."
        verdict = Verdict("pending-approval", reason, old, gate.challenger, gate.interval)
        _ask(project.name, version)
        return _record(ledger, turn, verdict, figures | {"version": version, "expected": _version_of(champion)})
    follows = followed_with(turn, project, followed, version)
    told = {} if follows is None else {KIND: follows.figures()}
    Registry(Settings(), ledger).promote(
        project.name,
        version,
        _version_of(champion),
        reason=gate.reason,
        figures=figures | told,
        at=turn.moment,
        lease_fence=turn.fence,
        verdict=KIND if turn.is_step else "promoted",
    )
    if follows is not None:
        note_step(turn, ledger, follows)
    return _record(ledger, turn, Verdict("promoted", gate.reason, old, gate.challenger, gate.interval), figures)


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
    figures = figures | {"flow_run": str(flow_run.id)}  # by which a trigger finds what came of it
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
            expected = decision.figures.get("expected")
            live = live_quality(ledger, name, version, expected)
            text = f"### Shall version {version} of {name} become champion?\n\n{decision.reason}"
            return Question(f"{text}\n\n{say_live(live)}" if live else text, expected)
    raise NotFound(f"Version {version} of '{name}' does not wait for approval. `treadle models {name}` lists versions.")


@step("settle challenger")
def settle_challenger(
    name: str, version: int, expected: int | None, approve: bool, comment: str
) -> dict[str, str | int | None]:
    """Do as the person said, unless live traffic has shown meanwhile that the version is worse.

    Raises:
        Conflict: The champion is not the one that the challenger was compared with any more.
    """
    settings = Settings()
    ledger = Ledger.open(settings)
    said = f"{'Approved' if approve else 'Refused'} by a person{f': {comment}' if comment else '.'}"
    live = live_quality(ledger, name, version, expected)
    if approve and live is not None and live.worse:
        approve = False
        said = f"{said} Kept all the same: {say_live(live)} `treadle promote {name} {version}` promotes it even so."
    if approve:
        Registry(settings, ledger).promote(name, version, expected, reason=said, verdict="approved", who="person")
    decision = "promoted" if approve else "kept"
    figures = {"version": version, "live": live and live.figures()}
    ledger.record_decision(name, decision, said, figures, datetime.now(UTC))
    champion = ledger.champion(name)
    return {"decision": decision, "reason": said, "champion": champion.version if champion else None}
