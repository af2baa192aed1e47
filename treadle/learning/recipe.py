"""A recipe, which is a family with fixed parameters: how it is fitted, and which of the past it had best learn from.

Works on tables; knows neither flows nor the ledger, so that a replay of the past fits and chooses as a train run does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from treadle.errors import BadData
from treadle.families import load_family
from treadle.families.protocol import Updating
from treadle.learning.history import Choice, Fit, History, choose
from treadle.learning.split import Split, bound, is_timed
from treadle.problems import load_problem, pick_metric
from treadle.project import Project
from treadle.tables.data import AT, ROW
from treadle.tables.schema import Schema

SHARE = 0.2  # of the search's minutes: what a back-test may cost
KEPT = "Kept from the last back-test, since little is new. "


def fit_recipe(
    project: Project, schema: Schema, frame: pd.DataFrame, family: str, params: Mapping[str, Any], history: History
) -> Any:
    """Fit one family with fixed parameters on all rows of `frame`; the history says what each of them counts.

    Raises:
        BadData: A class is missing among them.
    """
    problem = load_problem(project.problem)
    target: np.ndarray = problem.encode_target(frame[schema.target], schema)
    weights = history.weights(frame[AT].to_numpy())
    how: dict[str, Any] = {} if weights is None else {"weights": weights}
    fitted = load_family(family).fit(
        frame,
        target,
        dict(params),
        problem=problem,
        schema=schema,
        metric=pick_metric(problem, project.promote.metric),
        valid=None,
        seed=project.split.seed,
        report=None,
        **how,
    )
    return fitted.model


def can_update(schema: Schema, family: str) -> bool:
    """Whether versions of a family may learn further between two fits: it knows how, and rows have an age to go by."""
    return schema.time is not None and isinstance(load_family(family), Updating)


def update_recipe(
    project: Project, schema: Schema, frame: pd.DataFrame, family: str, params: Mapping[str, Any], history: History,
    model: Any | None,
) -> Any | None:  # fmt: skip
    """A fitted model of a recipe after it has learned further from the newest rows of `frame`; the one given stays as it is.

    Returns:
        The model; `None` where it has to be fitted anew: there is none, the columns are others now, or the family objects.
    """
    learner = load_family(family)
    columns = [column.model_dump() for column in schema.features]
    if model is None or not isinstance(learner, Updating) or model.named_steps["encode"].columns != columns:
        return None
    newest = frame.iloc[history.newest(frame[AT].to_numpy())]
    target: np.ndarray = load_problem(project.problem).encode_target(newest[schema.target], schema)
    try:
        return learner.update(model, newest, target, dict(params), schema=schema, seed=project.split.seed)
    except BadData:
        return None


def pick_history(
    project: Project, schema: Schema, frame: pd.DataFrame, split: Split, family: str, params: Mapping[str, Any],
    kept: Choice | None = None,
) -> Choice:  # fmt: skip
    """How much of the past to learn from: by the project's rule, back-tested where it says so.

    Args:
        project: Says the rule, and what a back-test may cost.
        schema: Says whether there is time.
        frame: Labelled rows with their internal columns.
        split: What of them may be learned from.
        family: What is fitted.
        params: Its parameters; the back-test fits a cheaper form of it.
        kept: The choice of the turn before, if it was made by the same rule; it holds while little is new.
    """
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
    if kept is not None and kept.still_holds(times):
        return kept if kept.why.startswith(KEPT) else replace(kept, why=f"{KEPT}{kept.why}")
    return choose(
        times,
        _cheap_fit(project, schema, learned, family, params),
        rule=rule,
        horizon=_horizon(learned, project),
        seconds=SHARE * 60 * project.tune.minutes,
    )


def keep_to_history(
    split: Split, frame: pd.DataFrame, project: Project, schema: Schema, choice: Choice
) -> tuple[Split, Choice]:
    """The split without what is too old; all history instead, where a back-tested window leaves too little.

    Raises:
        BadData: The window that the project names leaves too little.
    """
    try:
        return bound(split, frame, project, schema, choice.history), choice
    except BadData as error:
        if isinstance(project.retrain.history, timedelta):
            raise
        why = f"All history: of {choice.history.name} too little is left. {error}"
        return split, replace(choice, history=History(), why=why)


def _horizon(learned: pd.DataFrame, project: Project) -> timedelta:
    """The event time that a watch window of rows covers."""
    newest = learned[AT].nlargest(project.watch.window)
    return (newest.max() - newest.min()).to_pytimedelta()


def _cheap_fit(
    project: Project, schema: Schema, learned: pd.DataFrame, family_name: str, params: Mapping[str, Any]
) -> Fit:
    """A cheap form of a recipe, on positions of `learned`."""
    problem, family = load_problem(project.problem), load_family(family_name)
    metric = pick_metric(problem, project.promote.metric)
    sketch = family.sketch(dict(params))
    target = problem.encode_target(learned[schema.target], schema)

    def fit(learn: np.ndarray, weights: np.ndarray | None, judge: np.ndarray) -> np.ndarray:
        how: dict[str, Any] = {} if weights is None else {"weights": weights}
        if schema.classes and len(np.unique(target[learn])) < len(schema.classes):
            return np.array([np.nan])  # a class is too old: nothing learns it from these rows
        fitted = family.fit(
            learned.iloc[learn].reset_index(drop=True), target[learn], sketch, problem=problem, schema=schema,
            metric=metric, seed=project.split.seed, **how,
        )  # fmt: skip
        return problem.row_losses(metric, target[judge], problem.predict(fitted.model, learned.iloc[judge]))

    return fit
