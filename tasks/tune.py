"""Tune: the search over families and their parameters; its trials become nested MLflow runs when it has ended.

A retrain starts warm, from the champion's parameters, and goes on to a full search only when that disappoints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from tasks.history import history_of
from tasks.step import step
from treadle.learning.search import Progress, SearchResult, SearchSpec, search
from treadle.learning.warm_start import Rehearsed, disappointment
from treadle.ledger import Champion, Ledger
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.models.tracking import log_trials, set_tags
from treadle.problems import load_problem
from treadle.project import Project, load_project
from treadle.retraining.turn import Best, Parts, Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import ROW, load_snapshot
from treadle.tables.schema import Schema

LOST = ("kept", "rejected")


@step("tune families")
def tune_families(
    turn: Turn, rows: Rows, parts: Parts, trials: int | None = None, minutes: float | None = None
) -> Best:
    """Search; a retrain starts from the champion's parameters and is short, unless that disappoints.

    A search that was killed goes on where it stopped: its study is named by the data, the split and the project.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    ledger = Ledger.open(settings)
    champion = ledger.champion(project.name)
    recipe = Registry(settings, ledger).champion_recipe(project.name)
    if turn.is_step and champion is not None and recipe is not None:
        why = f"The recipe of version {champion.version}, without a search: the stream is followed."
        turn.write("search.json", {"kind": "kept", "why": why})
        return Best(recipe["family"], recipe["params"], math.nan, 0, 0)

    run = _searching(settings, turn, rows, parts, project, recipe, minutes)
    plan = project.tune
    if trials:
        result, kind, why = run(trials), "asked", f"{trials} trials, as asked."
    elif champion is None:
        result, kind, why = run(plan.trials), "full", "The first version."
    elif lost := _lost_before(ledger, project, champion):
        result, kind, why = run(plan.trials), "full", lost
    else:
        result, kind, why = run(plan.retrain_trials), "warm", f"Warm, from version {champion.version}."
        if short := _disappoints(settings, turn, rows, parts, project, champion, result):
            more = max(plan.trials, plan.retrain_trials)
            result, kind, why = run(more), "full", f"Searched in full: {short}."
    turn.write("search.json", {"kind": kind, "why": why})
    set_tags(settings, turn.run_id, {"search": f"{kind}: {why}"})
    _show(settings, turn, project.name, result, why)
    return Best(result.family, result.params, result.score, result.done, result.pruned)


def _searching(
    settings: Settings,
    turn: Turn,
    rows: Rows,
    parts: Parts,
    project: Project,
    recipe: dict[str, Any] | None,
    minutes: float | None,
) -> Callable[[int], SearchResult]:
    """Searches with so many trials, from a recipe where there is one."""
    half_life = history_of(turn).half_life

    def run(wanted: int) -> SearchResult:
        spec = SearchSpec.of(
            project,
            settings,
            snapshot=rows.path,
            schema=str(turn.path("schema.json")),
            split=parts.path,
            trials=wanted,
            minutes=minutes or project.tune.minutes,
            start=[recipe] if recipe else [],
            half_life_s=half_life.total_seconds() if half_life else None,
        )
        return search(spec, _bar(project.name, wanted, spec.metric))

    return run


def _lost_before(ledger: Ledger, project: Project, champion: Champion) -> str | None:
    """Why a warm start is not tried again: the last one came to a challenger that lost against this very champion."""
    for decision in ledger.last_decisions(project.name, 20):
        figures = decision.figures
        if decision.kind in LOST and figures.get("search") == "warm" and figures.get("against") == champion.version:
            return f"Searched in full: the last challenger started warm from version {champion.version} and lost against it."
        if decision.kind in (*LOST, "promoted", "released", "pending-approval"):
            return None
    return None


def _disappoints(
    settings: Settings, turn: Turn, rows: Rows, parts: Parts, project: Project, champion: Champion, result: SearchResult
) -> str | None:
    """Why the best warm trial is not good enough beside the champion's rehearsal."""
    kept = Evidence(settings, project.name).rehearsal(champion.version)
    if kept is None or kept["metric"] != result.metric:
        return None
    problem, schema = load_problem(project.problem), Schema.load(turn.path("schema.json"))
    target = load_snapshot(rows.path).set_index(ROW)[schema.target]
    split = json.loads(Path(parts.path).read_text(encoding="utf-8"))
    train, valid = (problem.encode_target(target[split[part]], schema) for part in ("train", "valid"))
    metric = problem.metrics[result.metric]
    baseline = metric.score(valid, problem.baseline(train, len(valid)))
    return disappointment(Rehearsed.of(kept), result.score, baseline, higher_is_better=metric.higher_is_better)


def _bar(name: str, wanted: int, metric: str) -> Any:
    """A progress bar in the Prefect UI, and what moves it."""
    bar = create_progress_artifact(progress=0.0, key=f"{name}-search", description=f"0 of {wanted} trials")

    def show(progress: Progress) -> None:
        best = "unknown" if progress.best is None else f"{progress.best:.4g}"
        update_progress_artifact(
            artifact_id=bar,  # type: ignore[arg-type]
            progress=min(100.0, 100 * progress.finished / wanted),
            description=f"{progress.finished} of {wanted} trials, best {metric} {best}",
        )

    return show


def _show(settings: Settings, turn: Turn, name: str, result: SearchResult, why: str) -> None:
    log_trials(settings, turn.run_id, name, result.trials, metric=result.metric)
    create_table_artifact(
        key=f"{name}-trials",
        table=[
            {"trial": t.number, "family": t.family, "state": t.state, result.metric: t.score, "seconds": t.seconds}
            for t in result.trials
        ],
        description=f"{why} {result.said}",
    )
