"""How much a model leans on each column: what its score loses when that column is shuffled.

Knows nothing of models: gets a function that answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from treadle.problems import Problem

Array = np.ndarray[Any, Any]


def permutation_importance(
    problem: Problem,
    metric: str,
    predict: Callable[[pd.DataFrame], Array],
    X: pd.DataFrame,
    y: Array,
    seed: int,
    *,
    columns: Sequence[str] | None = None,
    max_rows: int = 2000,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """Shuffle one column at a time and see how much worse the answers get.

    Args:
        problem: From `treadle.problems`.
        metric: One of the problem's metrics.
        predict: Answers rows, (n, columns) → (n,) or (n, classes).
        X: Rows that the model has not learned from, shape (n, columns).
        y: Encoded targets, shape (n,).
        seed: Of the sample and the shuffles.
        columns: Which to shuffle; `None` is all but internal ones, whose names begin with `__`.
        max_rows: A sample of so many rows is enough.
        repeats: Shuffles of each column.

    Returns:
        `{"column", "importance", "spread", "metric"}`, most important first: the mean loss in the metric's unit,
        positive when the model needs the column, and its standard deviation over the shuffles.

    Source: Breiman 2001, Random Forests, section 10; Fisher, Rudin, Dominici 2019 for any model.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(y))[:max_rows])
    X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    judge = problem.metrics[metric]
    sign = 1.0 if judge.higher_is_better else -1.0
    whole = judge.score(y, predict(X))
    found = []
    for column in columns if columns is not None else [name for name in X.columns if not name.startswith("__")]:
        losses = []
        for _ in range(repeats):
            shuffled = X.assign(**{column: X[column].iloc[rng.permutation(len(y))].to_numpy(copy=True)})
            shuffled[column] = shuffled[column].astype(X[column].dtype)
            losses.append(sign * (whole - judge.score(y, predict(shuffled))))
        mean, spread = float(np.mean(losses)), float(np.std(losses))
        found.append({"column": column, "importance": mean, "spread": spread, "metric": metric})
    return sorted(found, key=lambda entry: -entry["importance"])
