"""Rows of the ledger and their quality: what came true of them, and what is to be expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from treadle.errors import BadData
from treadle.ledger import Row
from treadle.problems import Problem
from treadle.quality.estimator import Estimator, Expected, join
from treadle.tables.schema import Schema
from treadle.window import answers_of, features_of


def readable(rows: Sequence[Row], schema: Schema) -> list[Row]:
    """Rows whose answer is of this kind; those of a version with other classes are not."""
    if schema.classes is None:
        return [row for row in rows if "probabilities" not in row.answer]
    return [row for row in rows if set(row.answer.get("probabilities", ())) == set(schema.classes)]


def measured(rows: Sequence[Row], schema: Schema, problem: Problem, metric: str) -> float | None:
    """The metric of labelled rows; `None` where it has none, such as the area under the curve of one class alone."""
    rows = readable(rows, schema)
    if not rows:
        return None
    target = pd.Series([row.label for row in rows], dtype="str" if schema.classes else "float64")
    try:
        y = problem.encode_target(target, schema)
    except BadData:  # a class that the schema has lost since
        return None
    value = float(problem.metrics[metric].score(y, answers_of(rows, schema)))
    return value if np.isfinite(value) else None


def expected_of(
    rows: Sequence[Row], schema: Schema, estimator_of: Callable[[int], Estimator | None]
) -> tuple[Estimator, Expected] | None:
    """What is to be expected of answered rows, each by its own version.

    Args:
        rows: The rows.
        schema: Types of their columns.
        estimator_of: The estimator of a version, if it has one; all of one metric.

    Returns:
        The estimator of most of the rows, and what is expected of all that have one; `None` if none has.
    """
    parts: list[tuple[Estimator, Expected]] = []
    known = readable(rows, schema)
    for version in sorted({row.version for row in known}):
        estimator = estimator_of(version)
        if estimator is not None and estimator.classes == schema.classes:
            own = [row for row in known if row.version == version]
            parts.append((estimator, estimator.rows(features_of(own, schema), answers_of(own, schema))))
    if not parts:
        return None
    largest = max(parts, key=lambda part: len(part[1].losses))
    return largest[0], join([expected for _, expected in parts])
