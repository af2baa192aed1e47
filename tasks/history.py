"""History: how much of the past this turn learns from, by the project's rule; chosen by a back-test where it says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.data import AT, ROW, load_snapshot
from treadle.errors import BadData
from treadle.evidence import Evidence
from treadle.families import load_family
from treadle.history import Choice, Fit, History, choose
from treadle.ledger import Ledger
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.registry import Registry
from treadle.schema import Schema
from treadle.settings import Settings
from treadle.split import Split, bound, is_timed
from treadle.tracking import log_params, log_text
from treadle.turn import Parts, Rows, Turn

SHARE = 0.2  # of the search's minutes: what a back-test may cost
KEPT = "Kept from the last back-test, since little is new. "


@step("choose history")
def choose_history(turn: Turn, rows: Rows, parts: Parts) -> Parts:
    """Say which rows are learned from and what each counts; rows that judge stay as they are.

    Returns:
        The parts, without the rows that are too old; their ids are under `left_out` in the turn's `split.json`.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = Schema.load(turn.path("schema.json"))
    frame = load_snapshot(rows.path)
    split = Split(**turn.read("split.json"), how=parts.how)
    choice = _choose(settings, project, schema, frame, split)
    try:
        split = bound(split, frame, project, schema, choice.history)
    except BadData as error:
        if isinstance(project.retrain.history, timedelta):
            raise
        choice = replace(
            choice, history=History(), why=f"All history: of {choice.history.name} too little is left. {error}"
        )
    turn.write("history.json", choice.figures() | {"rule": _say_rule(project)})
    turn.write("split.json", split.ids())
    log_params(settings, turn.run_id, {"history": choice.history.name})
    log_text(settings, turn.run_id, say_history(choice.figures()), "history.md")
    _show(project.name, choice)
    return Parts(parts.path, len(split.train), len(split.valid), parts.test, parts.holdout, parts.how)


def history_of(turn: Turn) -> History:
    """What the turn learns from, as `choose_history` left it."""
    return History.of(turn.read("history.json")["chosen"])


def _choose(settings: Settings, project: Project, schema: Schema, frame: pd.DataFrame, split: Split) -> Choice:
    rule = project.retrain.history
    if rule == "all":
        return Choice(History(), (), "The project says `all`.")
    if not is_timed(frame, schema):
        return Choice(History(), (), "All history: without a time column there is no age to go by.")
    if isinstance(rule, timedelta):
        return Choice(History(window=rule), (), f"The project says {History(window=rule).name}.")
    ids = {*split.train, *split.valid, *split.left_out}
    learned = frame[frame[ROW].isin(ids) & frame[AT].notna()].reset_index(drop=True)
    times = learned[AT].to_numpy()
    return _kept(settings, project, times) or choose(
        times,
        _cheap_fit(settings, project, schema, learned),
        rule=rule,
        horizon=_horizon(learned, project),
        seconds=SHARE * 60 * project.tune.minutes,
    )


def _kept(settings: Settings, project: Project, times: np.ndarray) -> Choice | None:
    """The champion's choice, if it was tested by the same rule and little is new since."""
    champion = Ledger.open(settings).champion(project.name)
    kept = Evidence(settings, project.name).history(champion.version) if champion else None
    if kept is None or kept["rule"] != _say_rule(project):
        return None
    before = Choice.of(kept)
    if not before.still_holds(times):
        return None
    said = before.why if before.why.startswith(KEPT) else f"{KEPT}{before.why}"
    return replace(before, why=said)


def _say_rule(project: Project) -> str:
    rule = project.retrain.history
    return rule if isinstance(rule, str) else History(window=rule).name


def _horizon(learned: pd.DataFrame, project: Project) -> timedelta:
    """The event time that a watch window of rows covers."""
    newest = learned[AT].nlargest(project.watch.window)
    return (newest.max() - newest.min()).to_pytimedelta()


def _cheap_fit(settings: Settings, project: Project, schema: Schema, learned: pd.DataFrame) -> Fit:
    """A cheap form of the champion's recipe, or of the first family's defaults, on positions of `learned`."""
    problem = load_problem(project.problem)
    metric = pick_metric(problem, project.promote.metric)
    champion = Registry(settings, Ledger.open(settings)).champion_recipe(project.name)
    family = load_family(champion["family"] if champion else project.train.families[0])
    params = family.sketch(champion["params"] if champion else family.defaults(problem))
    target = problem.encode_target(learned[schema.target], schema)

    def fit(learn: np.ndarray, weights: np.ndarray | None, judge: np.ndarray) -> np.ndarray:
        how: dict[str, Any] = {} if weights is None else {"weights": weights}
        if schema.classes and len(np.unique(target[learn])) < len(schema.classes):
            return np.array([np.nan])  # a class is too old: nothing learns it from these rows
        fitted = family.fit(
            learned.iloc[learn].reset_index(drop=True), target[learn], params, problem=problem, schema=schema,
            metric=metric, seed=project.split.seed, **how,
        )  # fmt: skip
        return problem.row_losses(metric, target[judge], problem.predict(fitted.model, learned.iloc[judge]))

    return fit


def say_history(figures: dict[str, Any]) -> str:
    """The choice as Markdown: why, and a table of what was tried."""
    lines = [f"**{figures['chosen']}.** {figures['why']}"]
    if figures["tried"]:
        lines += ["", "| learned from | mean loss | loss of each past stretch, newest first |", "|---|---|---|"]
        for tried in figures["tried"]:
            folds = ", ".join(f"{loss:.4g}" for loss in tried["folds"])
            lines.append(f"| {tried['name']} | {tried['error']:.4g} | {folds} |")
    return "\n".join(lines)


def _show(name: str, choice: Choice) -> None:
    figures = choice.figures()
    create_markdown_artifact(key=f"{name}-history", markdown=say_history(figures), description=choice.why)
    if choice.tried:
        create_table_artifact(
            key=f"{name}-histories",
            table=[
                {
                    "learned from": tried.name,
                    "mean loss": tried.error,
                    "past stretches": len(tried.folds),
                    "chosen": "yes" if tried.name == choice.history.name else "",
                }
                for tried in choice.tried
            ],
            description=choice.why,
        )
