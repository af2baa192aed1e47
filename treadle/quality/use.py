"""Which columns a model uses, and which tell of its errors whether it uses them or not.

Sources: A. Fisher, C. Rudin, F. Dominici, "All Models are Wrong, but Many are Useful" (2019), for the growth of the loss
when a column is shuffled; W. Kruskal, W. Wallis (1952) for losses that differ along a column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from treadle.problems import Problem

MOST_ROWS = 1000
REPEATS = 2
LEAST_USE = 0.005
"""Less than this share of the loss is no use."""
SURE = 2.0
"""Standard errors that the growth must be above nothing."""
CHANCE = 0.01
"""So often some column of a model is said to tell of errors when none does."""
BINS = 5
LEAST_GROUP = 10


@dataclass(frozen=True)
class Use:
    """How a model leans on a column.

    Attributes:
        importance: Growth of the mean loss when the column is shuffled, as a share of the loss: 0.5 is half as much again.
        error: Its standard error.
        used: Whether the growth is surely there and large enough to matter.
        tells: Whether losses differ along the column: rows of one end are harder, though the model may not know it.
    """

    name: str
    importance: float
    error: float
    used: bool
    tells: bool = False

    @property
    def matters(self) -> bool:
        """Whether a move of the column can change the loss."""
        return self.used or self.tells


def column_use(
    problem: Problem, metric: str, predict: Callable[[pd.DataFrame], np.ndarray], rows: pd.DataFrame, y: np.ndarray,
    columns: Sequence[str], seed: int,
) -> tuple[Use, ...]:  # fmt: skip
    """Shuffle one column at a time.

    Args:
        problem: Gives the loss of a row.
        metric: Decides which loss.
        predict: Answers rows.
        rows: Rows that the model has not learned from (n, columns); a thousand are enough.
        y: Their encoded targets (n,).
        columns: The columns to try.
        seed: Seed of the sample and the shuffles.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(y))[:MOST_ROWS])
    rows, y = rows.iloc[sample].reset_index(drop=True), y[sample]
    losses = problem.row_losses(metric, y, predict(rows))
    mean = max(float(losses.mean()), 1e-12)
    found = []
    for name in columns:
        growth = np.zeros(len(y))
        for _ in range(REPEATS):
            shuffled = rows.assign(**{name: rows[name].iloc[rng.permutation(len(y))].to_numpy(copy=True)})
            shuffled[name] = shuffled[name].astype(rows[name].dtype)
            growth += (problem.row_losses(metric, y, predict(shuffled)) - losses) / REPEATS
        importance, error = float(growth.mean()) / mean, float(growth.std()) / np.sqrt(len(y)) / mean
        used = importance > SURE * error and importance >= LEAST_USE
        tells = _tells(rows[name], losses, CHANCE / len(columns))
        found.append(Use(name, round(importance, 6), round(float(error), 6), bool(used), tells))
    return tuple(found)


def _tells(values: pd.Series, losses: np.ndarray, level: float) -> bool:
    """Whether losses differ between groups of a column's values more than chance would have it."""
    from scipy.stats import kruskal

    if pd.api.types.is_datetime64_any_dtype(values):  # every time is new, so none can tell of the next
        return False
    groups = (
        pd.qcut(values.rank(), BINS, labels=False, duplicates="drop")
        if pd.api.types.is_numeric_dtype(values)
        else values
    )
    parts = [losses[(groups == group).to_numpy()] for group in groups.dropna().unique()] + [
        losses[groups.isna().to_numpy()]
    ]
    parts = [part for part in parts if len(part) >= LEAST_GROUP]
    if len(parts) < 2 or np.ptp(losses) == 0:
        return False
    return bool(kruskal(*parts).pvalue < level)
