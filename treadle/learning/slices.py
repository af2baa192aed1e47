"""Where a model is weak: its score on parts of the rows, by category, by boolean, by thirds of a number.

Knows nothing of models: gets answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from treadle.tables.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

    from treadle.problems import Metric, Problem

Array = np.ndarray[Any, Any]


def slices(
    frame: pd.DataFrame, schema: Schema, y: Array, answer: Array, problem: Problem, metric: str, min_rows: int = 30
) -> list[dict[str, Any]]:
    """Score every slice of the rows that has enough of them.

    Args:
        frame: Conformed rows, shape (n, any columns).
        schema: Says which columns are features, and of which kind.
        y: Encoded targets, shape (n,).
        answer: The model's answers in the problem's shape, (n,) or (n, classes).
        problem: From `treadle.problems`.
        metric: One of the problem's metrics.
        min_rows: Smaller slices are left out.

    Returns:
        `{"slice", "column", "rows", "score"}`, worst first. A slice on which the metric means nothing (one class, say)
        is left out.
    """
    found = []
    for column in schema.features:
        for name, mask in parts(frame[column.name], column):
            rows = int(mask.sum())
            score = _score(problem.metrics[metric], y[mask], answer[mask]) if rows >= min_rows else None
            if score is not None:
                found.append({"slice": name, "column": column.name, "rows": rows, "score": score})
    return sorted(found, key=lambda part: part["score"], reverse=not problem.metrics[metric].higher_is_better)


def _score(metric: Metric, y: Array, answer: Array) -> float | None:
    try:
        score = float(metric.score(y, answer))
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def parts(values: pd.Series, column: Column) -> Iterator[tuple[str, Array]]:
    """Names and masks (n,) of a column's slices; missing values are one of their own."""
    missing = values.isna().to_numpy()
    if column.kind == "category":
        for value in values.dropna().unique():
            yield f"{column.name} = {value}", (values == value).fillna(False).to_numpy(dtype=bool)
    elif column.kind == "boolean":
        for value in (0.0, 1.0):
            yield f"{column.name} = {_token(column, value)}", (values == value).to_numpy()
    else:
        yield from _thirds(values, column, ~missing)
    if missing.any():
        yield f"{column.name} is missing", missing


def _token(column: Column, value: float) -> str:
    return (column.tokens or ("false", "true"))[int(value)]


def _thirds(values: pd.Series, column: Column, present: Array) -> Iterator[tuple[str, Array]]:
    """Lower, middle and upper third of a number or a time; fewer when many values are equal."""
    if not present.any():
        return
    low, high = values[present].quantile([1 / 3, 2 / 3], interpolation="lower")
    below, above = (values <= low).to_numpy() & present, (values > high).to_numpy() & present
    between = present & ~below & ~above
    name, low, high = column.name, _show(low), _show(high)
    yield f"{name} ≤ {low}", below
    yield f"{low} < {name} ≤ {high}", between
    yield f"{name} > {high}", above


def _show(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else f"{value:.4g}"


def slice_masks(frame: pd.DataFrame, schema: Schema, min_rows: int) -> list[tuple[str, Array]]:
    """Names and masks (n,) of every slice of the feature columns with at least `min_rows` rows."""
    named = [part for column in schema.features for part in parts(frame[column.name], column)]
    return [(name, mask) for name, mask in named if int(mask.sum()) >= min_rows]
