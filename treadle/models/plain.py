"""Columns and answers as plain rows: how callers send and get them, and how the ledger keeps them.

Knows manifests and arrays; no table, no session and no request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from treadle.models.bundle import Manifest, ManifestColumn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_of(columns: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
    """Rows as callers of the own protocol would have sent them, from ONNX inputs (n,) by column."""
    shaped = [_values_of(columns[column.name], column) for column in manifest.columns]
    names = [column.name for column in manifest.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*shaped, strict=True)]


def _values_of(column: np.ndarray, said: ManifestColumn) -> list[Any]:
    values = column.tolist()
    match said.kind:
        case "category":
            return [value or None for value in values]
        case "boolean":
            return [None if math.isnan(value) else bool(value) for value in values]
        case "datetime":
            return [None if math.isnan(v) else (EPOCH + timedelta(seconds=v)).isoformat() for v in values]
        case _:
            return [None if math.isnan(value) else value for value in values]


def shape_answers(answers: np.ndarray, classes: Sequence[str] | None) -> list[dict[str, Any]]:
    """Answers as callers get them: `prediction`, and `probabilities` by class where there are classes.

    Args:
        answers: Numbers (n,), or probabilities (n, n_classes) in the order of `classes`.
        classes: The manifest's; `None` for regression.

    >>> shape_answers(np.array([[0.25, 0.75]]), ["no", "yes"])
    [{'prediction': 'yes', 'probabilities': {'no': 0.25, 'yes': 0.75}}]
    """
    if classes is None:
        return [{"prediction": value} for value in answers.tolist()]
    best = answers.argmax(axis=1).tolist()
    return [
        {"prediction": classes[k], "probabilities": dict(zip(classes, row, strict=True))}
        for k, row in zip(best, answers.tolist(), strict=True)
    ]
