"""Quality of what comes out of the box, against scikit-learn's HistGradientBoosting on the same rows.

`python -m benchmarks.quality` trains nothing but our search and theirs; prints both figures and their ratio.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from treadle.families import load_family
from treadle.learning.search import SearchSpec, search
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, read_project
from treadle.settings import CHECKOUT, Settings
from treadle.tables.data import ROW, conform, infer_schema, read_table, snapshot
from treadle.tables.schema import Schema

SEED = 0


def theirs(train: pd.DataFrame, test: pd.DataFrame, schema: Schema, y: np.ndarray) -> np.ndarray:
    """HistGradientBoosting with its defaults, categories as codes, times left out as a newcomer would."""
    columns = [c.name for c in schema.features if c.kind != "datetime"]
    text = make_column_selector(dtype_include=["object", "string", "str"])
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), text), remainder="passthrough"
    )
    model: Any = HistGradientBoostingClassifier if schema.classes else HistGradientBoostingRegressor
    pipeline = make_pipeline(encode, model(random_state=SEED)).fit(train[columns], y)
    answer = pipeline.predict_proba if schema.classes else pipeline.predict
    return np.asarray(answer(test[columns]))


def ours(
    project: Project, schema: Schema, train: pd.DataFrame, test: pd.DataFrame, y: np.ndarray, trials: int
) -> np.ndarray:
    """Our search on a random fifth of the training rows, then a refit on all of them."""
    problem = load_problem(project.problem)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        shuffled = np.random.default_rng(SEED).permutation(train[ROW].to_numpy())
        fifth = len(shuffled) // 5
        split, kinds = Path(home) / "split.json", Path(home) / "schema.json"
        split.write_text(json.dumps({"train": list(shuffled[fifth:]), "valid": list(shuffled[:fifth])}))
        schema.save(kinds)
        spec = SearchSpec.of(
            project,
            settings,
            snapshot=snapshot(train, settings, project.name),
            schema=str(kinds),
            split=str(split),
            trials=trials,
        )
        best = search(spec)
    fitted = load_family(best.family).fit(
        train,
        y,
        best.params,
        problem=problem,
        schema=schema,
        metric=pick_metric(problem, project.promote.metric),
        seed=SEED,
    )
    return problem.predict(fitted.model, test)


def adult(trials: int) -> tuple[float, float]:
    """AUC on the official test part."""
    project = read_project(CHECKOUT / "projects/adult/project.yaml")
    raw = read_table(project.source)
    schema = infer_schema(raw, project.data, project.problem)
    train, test = conform(raw, schema), conform(read_table(str(project.folder / "data/test.parquet")), schema)
    problem = load_problem(project.problem)
    y, truth = (problem.encode_target(frame[schema.target], schema) for frame in (train, test))
    score = problem.metrics["auc"].score
    return score(truth, ours(project, schema, train, test, y, trials)), score(truth, theirs(train, test, schema, y))


def bikes(trials: int) -> tuple[float, float]:
    """MAE by five random folds over the whole year."""
    project = read_project(CHECKOUT / "projects/bikes/project.yaml")
    year = pd.concat(
        [read_table(project.source), read_table(str(project.folder / "data/stream.parquet"))], ignore_index=True
    )
    schema = infer_schema(year, project.data, project.problem)
    frame = conform(year, schema)
    truth = frame[schema.target].to_numpy()
    mine, other = np.empty(len(frame)), np.empty(len(frame))
    for rest, fold in KFold(5, shuffle=True, random_state=SEED).split(frame):
        train, test = frame.iloc[rest].reset_index(drop=True), frame.iloc[fold]
        mine[fold] = ours(project, schema, train, test, truth[rest], trials)
        other[fold] = theirs(train, test, schema, truth[rest])
    return float(np.abs(mine - truth).mean()), float(np.abs(other - truth).mean())


def main(trials: int) -> None:
    """Print both tables' figures."""
    mine, other = adult(trials)
    _print("adult, official test part", "AUC, higher is better", mine, other)
    mine, other = bikes(trials)
    _print("bikes, 5 random folds", "MAE, lower is better", mine, other)


def _print(table: str, metric: str, mine: float, other: float) -> None:
    print(f"{table} ({metric}): treadle {mine:.4f}, HistGradientBoosting {other:.4f}, ratio {mine / other:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
