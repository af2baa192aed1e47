"""Evaluate: the rehearsal on rows it has not seen, against a trivial baseline, by slices, with plots to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.fit import Rehearsal, parts_of
from tasks.step import step
from treadle.families.storage import load_model
from treadle.learning.slices import slices
from treadle.models.tracking import log_artifacts, log_metrics
from treadle.pages.plots import draw_plots, permutation_importance
from treadle.problems import load_problem, pick_metric
from treadle.project import load_project
from treadle.retraining.turn import Rows, Scores, Turn
from treadle.settings import Settings
from treadle.tables.data import AT
from treadle.tables.schema import Schema


@step("evaluate model")
def evaluate_model(turn: Turn, rows: Rows, rehearsal: Rehearsal) -> Scores:
    """Judge the rehearsal on the test rows, or on the frozen holdout when a retrain brought too few new ones.

    Returns:
        Every metric of the problem with a 95 % bootstrap interval, and the trivial baseline's.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = Schema.load(turn.path("schema.json"))
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    model = load_model(rehearsal.path)
    judged_on = judge_part(turn)
    test, train = parts_of(turn, rows, judged_on), parts_of(turn, rows, "train", "valid")
    y, answer = problem.encode_target(test[schema.target], schema), problem.predict(model, test)
    trivial = problem.baseline(problem.encode_target(train[schema.target], schema), len(y))
    names = list(problem.metrics)
    scores = Scores(
        metrics={name: problem.metrics[name].score(y, answer) for name in names},
        intervals={name: problem.intervals(name, y, answer, seed=project.split.seed) for name in names},
        baseline={name: problem.metrics[name].score(y, trivial) for name in names},
        judged_on=judged_on,
    )
    worst = slices(test, schema.hiding(project.privacy.personal), y, answer, problem, metric)
    columns = [c.name for c in schema.features]
    importance = permutation_importance(
        problem, metric, lambda X: problem.predict(model, X), test, y, project.split.seed, columns=columns
    )
    turn.write("slices.json", worst)
    folder = turn.path("plots")
    draw_plots(folder, problem, schema, y, answer, times=_times(test), importance=importance)
    log_artifacts(settings, turn.run_id, folder, "plots")
    log_metrics(settings, turn.run_id, scores.metrics | {f"baseline_{k}": v for k, v in scores.baseline.items()})
    _remember_answers(turn, test, y, answer)
    _show(project.name, metric, scores, worst)
    return scores


def judge_part(turn: Turn) -> str:
    """Which part of the split judges: the test rows; the frozen holdout when there are none."""
    return "test" if turn.read("split.json")["test"] else "holdout"


def _times(frame: pd.DataFrame) -> np.ndarray | None:
    return frame[AT].to_numpy() if frame[AT].notna().all() else None


def _remember_answers(turn: Turn, frame: pd.DataFrame, y: np.ndarray, answer: np.ndarray) -> None:
    """Keep the rehearsal's answers: the gate and the drift reference are made from them."""
    np.savez(turn.path("judged.npz"), y=y, answer=answer)
    frame.to_parquet(turn.path("judged.parquet"), index=False)


def _show(name: str, metric: str, scores: Scores, worst: list[dict[str, Any]]) -> None:
    lines = ["| metric | value | 95 % interval | trivial baseline |", "|---|---|---|---|"]
    for key, value in scores.metrics.items():
        low, high = scores.intervals[key]
        lines.append(f"| {key} | {value:.4g} | {low:.4g} – {high:.4g} | {scores.baseline[key]:.4g} |")
    create_markdown_artifact(
        key=f"{name}-metrics",
        markdown="\n".join(lines),
        description=f"On the {scores.judged_on} rows; {metric} decides",
    )
    create_table_artifact(key=f"{name}-slices", table=worst[:20], description=f"{metric} by slice, worst first")
