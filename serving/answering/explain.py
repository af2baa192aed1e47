"""Why a row got its prediction: what each column contributed, compared with rows that the version learned from.

Shapley values by sampling permutations of the columns in antithetic pairs: columns of a background row are replaced one
by one by those of the row, in a random order and in the reverse of it, and each column is credited with the change of the
prediction. The changes of one order sum to the prediction minus that of the background row, so the contributions sum to the
prediction minus the base exactly, however few orders are tried; pairs are exact where columns interact two at a time.

Source: E. Štrumbelj, I. Kononenko 2014, Explaining prediction models and individual predictions with feature
contributions; S. Lundberg, S.-I. Lee 2017, A Unified Approach to Interpreting Model Predictions; R. Mitchell et al. 2022,
Sampling Permutations for Shapley Value Estimation (antithetic pairs).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.answering.decode import to_columns
from serving.models.model import ServedModel
from serving.problem_details import BadRequest
from treadle.errors import Unavailable

MOST_ROWS = 100
"""Rows that one request may have explained."""
MOST_RUNS = 3_000
"""The model answers so many rows to explain one; a row costs some 10 µs. More orders are tried where columns are few."""
COUNTS_AS = 100
"""Rows of a key's limit that an explained one takes: those runs cost as much as a hundred requests of one row."""
DEADLINE_S = 20.0
SEED = 7
"""The same row is explained in the same way each time."""


@dataclass(frozen=True)
class Plan:
    """Which columns are replaced when, the same for all rows of a request.

    Attributes:
        orders: Permutations of the columns (n_orders, n_columns); each second one is the reverse of the one before.
        rows: The background row that each order begins with, (n_orders,).
        replaced: Whether a column is replaced, (n_orders, n_columns - 1, n_columns): after the first step, the second,
            and so on. Before the first and after the last nothing needs to be run.
    """

    orders: np.ndarray
    rows: np.ndarray
    replaced: np.ndarray


def explain(model: ServedModel, columns: dict[str, np.ndarray], values: np.ndarray) -> list[dict[str, Any]]:
    """What each column contributed to each prediction.

    Args:
        model: The version that answered.
        columns: The rows, as `to_columns` makes them, n values each.
        values: Its answers: predictions (n,), or probabilities (n, n_classes).

    Returns:
        For each row `base`, the mean prediction of the background rows, and `contributions` by column, which sum to
        prediction - base; for classes they are those of the probability of the predicted `class`.

    Raises:
        BadRequest: The version has no rows to compare with.
        Unavailable: The deadline has passed.
    """
    rows = model.manifest.background or tuple(smoke.row for smoke in model.manifest.smoke)
    if not rows:
        raise BadRequest("This version has no rows to compare with; register it again to have it explain.")
    plan = make_plan(len(model.manifest.columns), len(rows))
    background = to_columns(rows[: int(plan.rows.max()) + 1], model.manifest)
    before = _two_dimensional(model.answer(background))
    answers = _two_dimensional(values)
    classes = model.manifest.classes
    end = time.monotonic() + DEADLINE_S
    said = []
    for row in range(len(answers)):
        if time.monotonic() > end:
            raise Unavailable(f"The explanations took more than {DEADLINE_S:g} seconds; send fewer rows.")
        target = int(answers[row].argmax()) if classes else 0
        one = {name: column[row] for name, column in columns.items()}
        shares = _contributions(model, plan, one, background, before[:, target], float(answers[row, target]), target)
        explanation: dict[str, Any] = {"base": float(before[:, target].mean())}
        if classes:
            explanation["class"] = classes[target]
        names = (column.name for column in model.manifest.columns)
        explanation["contributions"] = dict(zip(names, shares.tolist(), strict=True))
        said.append(explanation)
    return said


def make_plan(columns: int, background: int) -> Plan:
    """Orders for so many columns and background rows, as many pairs of them as `MOST_RUNS` allows."""
    steps = max(columns - 1, 1)
    used = max(1, min(background, MOST_RUNS // (2 * steps)))
    pairs = used * max(1, MOST_RUNS // (2 * steps * used))
    rng = np.random.default_rng(SEED)
    forward = np.array([rng.permutation(columns) for _ in range(pairs)])
    orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(2 * pairs, columns)
    rank = np.argsort(orders, axis=1)  # (n_orders, n_columns): when each column is replaced
    replaced = rank[:, None, :] < np.arange(1, columns)[None, :, None]
    return Plan(orders, np.repeat(np.arange(pairs) % used, 2), replaced)


def _contributions(
    model: ServedModel, plan: Plan, row: dict[str, Any], background: dict[str, np.ndarray], before: np.ndarray,
    after: float, target: int,
) -> np.ndarray:  # fmt: skip
    """What each column contributed to one row, (n_columns,).

    Args:
        model: The version.
        plan: In which order columns are replaced, and in which background rows.
        row: The row.
        background: The background rows.
        before: The model's answers to them, (n_background,).
        after: Its answer to the row.
        target: Which of its outputs is explained.
    """
    orders, steps, columns = plan.replaced.shape
    path = np.empty((orders, columns + 1))
    path[:, 0], path[:, -1] = before[plan.rows], after
    if steps:
        mixed = {}
        for k, (name, values) in enumerate(background.items()):
            old = np.broadcast_to(values[plan.rows][:, None], (orders, steps))
            mixed[name] = np.where(plan.replaced[:, :, k], row[name], old).reshape(-1)
        path[:, 1:-1] = _two_dimensional(model.answer(mixed))[:, target].reshape(orders, steps)
    total = np.zeros(columns)
    np.add.at(total, plan.orders, np.diff(path, axis=1))
    return total / orders


def _two_dimensional(answers: np.ndarray) -> np.ndarray:
    """Answers as float64 (n, n_outputs)."""
    return np.asarray(answers, dtype=np.float64).reshape(len(answers), -1)
