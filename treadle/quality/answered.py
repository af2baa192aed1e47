"""Rows of the ledger as arrays: what was asked, what was answered, what came true; and what is to be expected of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from treadle.data import AT
from treadle.errors import BadData
from treadle.labeling import late_labels
from treadle.ledger import Row
from treadle.problems import Problem
from treadle.quality.estimator import Estimator, Expected, join
from treadle.schema import Schema


def features_of(rows: Sequence[Row], schema: Schema) -> pd.DataFrame:
    """The rows' features (n, columns), conformed, in the rows' order."""
    columns = [c.name for c in schema.features]
    empty = {c.name: pd.Series(dtype="object") for c in schema.columns} | {AT: pd.Series(dtype="datetime64[us]")}
    if not rows:
        return pd.DataFrame(columns=columns)
    return late_labels(rows, schema, pd.DataFrame(empty)).frame[columns]


def answers_of(rows: Sequence[Row], classes: Sequence[str] | None) -> np.ndarray:
    """What was answered: (n,) numbers, or (n, n_classes) probabilities."""
    if classes is None:
        return np.array([float(row.answer["prediction"]) for row in rows], dtype=np.float64)
    shares = [[float(row.answer["probabilities"][name]) for name in classes] for row in rows]
    return np.array(shares, dtype=np.float64).reshape(len(rows), len(classes))


def readable(rows: Sequence[Row], classes: Sequence[str] | None) -> list[Row]:
    """Rows whose answer is of this kind; those of a version with other classes are not."""
    if classes is None:
        return [row for row in rows if "probabilities" not in row.answer]
    return [row for row in rows if set(row.answer.get("probabilities", ())) == set(classes)]


def measured(rows: Sequence[Row], schema: Schema, problem: Problem, metric: str) -> float | None:
    """The metric of labelled rows; `None` where it has none, such as the area under the curve of one class alone."""
    rows = readable(rows, schema.classes)
    if not rows:
        return None
    target = pd.Series([row.label for row in rows], dtype="str" if schema.classes else "float64")
    try:
        y = problem.encode_target(target, schema)
    except BadData:  # a class that the schema has lost since
        return None
    value = float(problem.metrics[metric].score(y, answers_of(rows, schema.classes)))
    return value if np.isfinite(value) else None


def expected_of(
    rows: Sequence[Row], schema: Schema, estimator_of: Callable[[int], Estimator | None]
) -> tuple[Estimator, Expected] | None:
    """What is to be expected of answered rows, each by its own version.

    Args:
        rows: The rows.
        schema: Types of their columns.
        estimator_of: The estimator of a version, if it has one.

    Returns:
        The estimator of most of the rows, and what is expected of all that have one; `None` if none has.
    """
    parts: list[tuple[Estimator, Expected]] = []
    for version in sorted({row.version for row in rows}):
        estimator = estimator_of(version)
        if estimator is None:
            continue
        own = readable([row for row in rows if row.version == version], estimator.classes)
        if own and (not parts or estimator.metric == parts[0][0].metric):
            parts.append((estimator, estimator.rows(features_of(own, schema), answers_of(own, estimator.classes))))
    if not parts:
        return None
    largest = max(parts, key=lambda part: len(part[1].losses))
    return largest[0], join([expected for _, expected in parts])
