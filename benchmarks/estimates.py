"""Estimates of quality against the truth, on real data: how far off they are, and how often the interval holds.

`python -m benchmarks.estimates` trains a default model for each table, estimates windows of rows that it has not seen as
if their labels were unknown, and then looks at the labels. Quiet windows are drawn at random; moved ones lean towards
rows with a certain trait, so that the inputs move and what they mean does not. The last lines are a year as it happened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.families import load_family
from treadle.learning.reference import make_reference
from treadle.problems import Problem, load_problem
from treadle.project import Project, read_project
from treadle.quality.estimator import Estimator, make_estimator
from treadle.quality.impact import judge_impact
from treadle.quality.loss_model import LOSS
from treadle.quality.use import column_use
from treadle.settings import CHECKOUT
from treadle.tables.data import AT, conform, infer_schema, read_table
from treadle.tables.schema import Schema

SEED = 0
Trait = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Case:
    """A model, rows that it has not seen, estimators of its metrics, and the rows that these were learned from."""

    name: str
    problem: Problem
    unseen: pd.DataFrame
    y: np.ndarray
    answer: np.ndarray
    estimators: dict[str, Estimator]
    plain: dict[str, float]
    schema: Schema
    judged: pd.DataFrame
    judged_y: np.ndarray
    oof: np.ndarray


def train(
    project: Project, schema: Schema, learned: pd.DataFrame, unseen: pd.DataFrame, metrics: tuple[str, ...]
) -> Case:
    """Fit the default gradient boosting, and learn to estimate it."""
    problem, family = load_problem(project.problem), load_family("gradient-boosting")

    def fit(rows: pd.DataFrame) -> Any:
        y = problem.encode_target(rows[schema.target], schema)
        params = family.defaults(problem)
        return family.fit(rows, y, params, problem=problem, schema=schema, metric=metrics[0], seed=SEED).model

    _, judged, oof = make_reference(learned, schema, problem, metrics[0], fit, SEED)
    if schema.time:  # what is unseen is compared with a reference of its own time, or of before
        unseen = unseen[(unseen[AT] >= judged[AT].min()).to_numpy()].reset_index(drop=True)
    mixed = learned.sample(frac=1, random_state=SEED)
    test, rehearsal = mixed.head(len(mixed) // 5), fit(mixed.tail(len(mixed) - len(mixed) // 5))
    columns = [c.name for c in schema.features]
    y_test = problem.encode_target(test[schema.target], schema)
    truth = problem.encode_target(judged[schema.target], schema)
    estimators, plain = {}, {}
    for metric in metrics:
        uses = column_use(problem, metric, lambda X: problem.predict(rehearsal, X), test, y_test, columns, SEED)
        made = make_estimator(judged, oof, learned, schema, problem, metric, uses, SEED)
        assert made is not None
        estimators[metric], plain[metric] = made, problem.metrics[metric].score(truth, oof)
    y = problem.encode_target(unseen[schema.target], schema)
    answer = problem.predict(fit(learned), unseen)
    return Case(project.name, problem, unseen, y, answer, estimators, plain, schema, judged, truth, oof)


def adult() -> Case:
    """Learned from 8,000 rows of the census, judged on its official test part."""
    project = read_project(CHECKOUT / "projects/adult/project.yaml")
    raw = read_table(project.source)
    schema = infer_schema(raw, project.data, project.problem)
    learned = conform(raw, schema).sample(8000, random_state=SEED).reset_index(drop=True)
    unseen = conform(read_table(str(project.folder / "data/test.parquet")), schema)
    return train(project, schema, learned, unseen, ("auc", "log_loss", "accuracy", "f1", "brier"))


def year_of_bikes() -> tuple[Project, Schema, pd.DataFrame]:
    project = read_project(CHECKOUT / "projects/bikes/project.yaml")
    parts = [read_table(project.source), read_table(str(project.folder / "data/stream.parquet"))]
    year = pd.concat(parts, ignore_index=True)
    schema = infer_schema(year, project.data, project.problem)
    return project, schema, conform(year, schema)


def bikes_by_days() -> Case:
    """Learned from three of four days of the year, judged on the fourth."""
    project, schema, year = year_of_bikes()
    most = (year[AT].dt.dayofyear % 4 != 0).to_numpy()
    learned, unseen = (year[mask].reset_index(drop=True) for mask in (most, ~most))
    return train(project, schema, learned, unseen, ("mae", "rmse", "r2"))


def bikes_as_it_was() -> Case:
    """Learned from January to March, judged on April to December."""
    project, schema, year = year_of_bikes()
    spring = (year[AT].dt.month <= 3).to_numpy()
    learned, unseen = (year[mask].reset_index(drop=True) for mask in (spring, ~spring))
    return train(project, schema, learned, unseen, ("mae",))


def windows(case: Case, rows: int, count: int, trait: Trait | None, days: bool) -> Iterator[np.ndarray]:
    """Row numbers of windows: drawn at random, or whole days, of which rows with the trait are kept four times as often."""
    rng = np.random.default_rng(SEED)
    weight = np.ones(len(case.unseen)) if trait is None else np.where(trait(case.unseen), 1.0, 0.25)
    day = case.unseen[AT].dt.dayofyear.to_numpy() if days else np.arange(len(case.unseen))
    for _ in range(count):
        if not days:
            yield rng.choice(len(weight), rows, replace=False, p=weight / weight.sum())
            continue
        first = rng.integers(0, len(np.unique(day)) - 1)
        span = np.unique(day)[first : first + max(2, int(rows / 24 / weight.mean()))]
        kept = np.isin(day, span) & (rng.random(len(day)) < weight)
        yield np.flatnonzero(kept)[:rows]


def compare(case: Case, metric: str, parts: list[np.ndarray]) -> tuple[float, float, float, float]:
    """Mean distance of the estimate from the truth, that of yesterday's figure, the share inside, and the mean truth."""
    estimator, score = case.estimators[metric], case.problem.metrics[metric].score
    off, naive, inside, truths = [], [], [], []
    for part in parts:
        truth = score(case.y[part], case.answer[part])
        value = estimator.rows(case.unseen.iloc[part], case.answer[part]).value()
        low, high = estimator.interval(value, len(part))
        off.append(abs(value - truth))
        naive.append(abs(case.plain[metric] - truth))
        inside.append(low <= truth <= high)
        truths.append(truth)
    return float(np.mean(off)), float(np.mean(naive)), float(np.mean(inside)), float(np.mean(truths))


def cost(case: Case, metric: str, parts: list[np.ndarray], moved: set[str]) -> tuple[float, float | None, float]:
    """What the windows' moved inputs are said to cost, what weighting says where it can, and what the labels say; means."""
    estimator, schema_columns = case.estimators[metric], case.schema.features
    said, checks, truths = [], [], []
    reference = case.judged.assign(**{LOSS: case.problem.row_losses(metric, case.judged_y, case.oof)})
    for part in parts:
        frame, answer = case.unseen.iloc[part], case.answer[part]
        found = judge_impact(estimator, estimator.rows(frame, answer), moved, frame, reference, schema_columns)
        losses = case.problem.row_losses(metric, case.y[part], answer)
        said.append(found.harm)
        checks += [found.check] if found.check is not None else []
        truths.append(losses.mean() / reference[LOSS].mean() - 1)
    return float(np.mean(said)), float(np.mean(checks)) if checks else None, float(np.mean(truths))


def main(count: int) -> None:
    census, bikes = adult(), bikes_by_days()
    moves: list[tuple[Case, str, Trait | None, set[str]]] = [
        (census, "quiet", None, set()),
        (census, "older", lambda f: f["age"] > 45, {"age"}),
        (census, "graduates", lambda f: f["education-num"] >= 13, {"education", "education-num"}),
        (
            census,
            "young, single",
            lambda f: (f["age"] < 30) & (f["marital-status"] == "Never-married"),
            {"age", "marital-status"},
        ),
        (census, "large `fnlwgt`", lambda f: f["fnlwgt"] > 250_000, {"fnlwgt"}),
        (bikes, "quiet", None, set()),
        (bikes, "rush hours", lambda f: f["hr"].isin([7, 8, 9, 16, 17, 18, 19]), {"hr"}),
        (bikes, "nights", lambda f: f["hr"] < 6, {"hr"}),
        (bikes, "windy hours", lambda f: f["windspeed"] > 0.25, {"windspeed"}),
    ]
    drawn = [
        list(windows(case, 300 if case is census else 168, count, trait, case is bikes)) for case, _, trait, _ in moves
    ]
    print(
        "| data | windows | metric | at training | truth | estimate off by | training's figure off by | inside 90 % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (case, what, _, _), parts in zip(moves, drawn, strict=True):
        for metric in case.estimators:
            say(case, what, metric, parts)
    lived = bikes_as_it_was()
    for month, part in lived.unseen.groupby(lived.unseen[AT].dt.month).indices.items():
        say(lived, f"month {month} as it was", "mae", [part])
    print("\n| data | moved | loss | said to cost | by weighting | truly |\n|---|---|---|---|---|---|")
    for (case, what, _, moved), parts in zip(moves, drawn, strict=True):
        metric = next(name for name in ("log_loss", "mae") if name in case.estimators)
        if moved:
            harm, check, truly = cost(case, metric, parts, moved)
            weighted = "" if check is None else f"{check:+.1%}"
            print(f"| {case.name} | {what} | {metric} | {harm:+.1%} | {weighted} | {truly:+.1%} |", flush=True)


def say(case: Case, what: str, metric: str, parts: list[np.ndarray]) -> None:
    off, naive, inside, truth = compare(case, metric, parts)
    figures = f"{case.plain[metric]:.3g} | {truth:.3g} | {off:.3g} | {naive:.3g} | {inside:.0%}"
    print(f"| {case.name} | {what} | {metric} | {figures} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
