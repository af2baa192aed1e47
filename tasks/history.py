"""History: how much of the past this turn learns from, by the project's rule; chosen by a back-test where it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.families import load_family
from treadle.learning.history import Choice, History
from treadle.learning.recipe import keep_to_history, pick_history
from treadle.learning.split import Split
from treadle.ledger import Ledger
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.models.tracking import log_params, log_text
from treadle.problems import load_problem
from treadle.project import Project, load_project
from treadle.retraining.turn import Parts, Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import load_snapshot
from treadle.tables.schema import Schema


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
    choice = _choose(settings, project, schema, frame, split, hold=turn.is_step)
    split, choice = keep_to_history(split, frame, project, schema, choice)
    turn.write("history.json", choice.figures() | {"rule": _say_rule(project)})
    turn.write("split.json", split.ids())
    log_params(settings, turn.run_id, {"history": choice.history.name})
    log_text(settings, turn.run_id, say_history(choice.figures()), "history.md")
    _show(project.name, choice)
    return Parts(parts.path, len(split.train), len(split.valid), parts.test, parts.holdout, parts.how)


def history_of(turn: Turn) -> History:
    """What the turn learns from, as `choose_history` left it."""
    return History.of(turn.read("history.json")["chosen"])


def _choose(
    settings: Settings, project: Project, schema: Schema, frame: pd.DataFrame, split: Split, *, hold: bool = False
) -> Choice:
    """By the champion's recipe, or the first family's defaults; kept from the turn before while little is new.

    A challenger that was turned down leaves its choice too: a refusal says nothing against the back-test. `hold` keeps it
    whatever is new.
    """
    kept = Evidence(settings, project.name).newest_history()
    recipe = Registry(settings, Ledger.open(settings)).champion_recipe(project.name)
    family = recipe["family"] if recipe else project.train.families[0]
    params = recipe["params"] if recipe else load_family(family).defaults(load_problem(project.problem))
    before = Choice.of(kept) if kept is not None and kept["rule"] == _say_rule(project) else None
    if hold and before is not None:
        return before
    return pick_history(project, schema, frame, split, family, params, before)


def _say_rule(project: Project) -> str:
    rule = project.retrain.history
    return rule if isinstance(rule, str) else History(window=rule).name


def say_history(figures: dict[str, Any]) -> str:
    """The choice as Markdown: why, and a table of what was tried."""
    lines = [f"**{figures['chosen']}.** {figures['why']}"]
    if figures["tried"]:
        lines += [
            "",
            "| learned from | mean loss | of all history, on the same stretches | loss of each past stretch, newest first |",
            "|---|---|---|---|",
        ]
        for tried in figures["tried"]:
            folds = ", ".join(f"{loss:.4g}" for loss in tried["folds"])
            whole = _of_all(figures["tried"][0]["folds"], len(tried["folds"]))
            lines.append(f"| {tried['name']} | {tried['error']:.4g} | {whole:.4g} | {folds} |")
        lines += ["", "What was worse than all history so far was tried on no more stretches."]
    return "\n".join(lines)


def _of_all(folds: Sequence[float], ran: int) -> float:
    """The mean loss of all history over the stretches that another candidate ran, which are the first of its own."""
    return sum(folds[:ran]) / ran if ran else math.nan


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
                    "of all history, on the same stretches": _of_all(choice.tried[0].folds, len(tried.folds)),
                    "past stretches": len(tried.folds),
                    "chosen": "yes" if tried.name == choice.history.name else "",
                }
                for tried in choice.tried
            ],
            description=choice.why,
        )
