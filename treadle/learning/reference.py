"""What was normal when a version was trained: made by cross-validation, kept with the version's evidence.

The losses come from folds in which the same recipe had not seen the row. They say what error is to be expected as long
as the world does not move; the error on the newest rows alone would carry the drift of the training period with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from treadle.drift import Reference
from treadle.problems import Problem
from treadle.tables.data import AT
from treadle.tables.labeling import event_days
from treadle.tables.schema import Schema

FOLDS = 5
FEWEST_FOLDS = 2
LEFT_OUT = 0.2  # of the rows, by a fold at most: its model then knows nearly as much as the version does
MOST_ROWS = 5000
MOST_JUDGED = 2000
OWN = "__reference_"  # begins our columns beside the features
JUDGED, LOSS, DAY, TARGET, ANSWER = (f"{OWN}{name}" for name in ("judged", "loss", "day", "target", "answer"))


def make_reference(
    learned: pd.DataFrame, schema: Schema, problem: Problem, metric: str,
    fit: Callable[[pd.DataFrame], Any], seed: int,
) -> tuple[Reference, pd.DataFrame, np.ndarray]:  # fmt: skip
    """Cross-validate a recipe on its newest rows, in as few folds as leave four fifths to learn from; days are never torn apart.

    Args:
        learned: Rows that the version learns from.
        schema: Says the features, the target and whether there is time.
        problem: Gives the loss of a row.
        metric: The metric that decides.
        fit: Fits the recipe on some rows.
        seed: Seed of the folds.

    Returns:
        The reference; the judged rows, n of them; and their out-of-fold answers, (n,) or (n, n_classes).
    """
    timed = schema.time is not None
    ordered = learned.sort_values(AT, kind="stable") if timed else learned.sample(frac=1, random_state=seed)
    judged = ordered.tail(MOST_JUDGED).reset_index(drop=True)
    answer = _out_of_fold(ordered, judged, problem, fit, seed, timed=timed)
    y = problem.encode_target(judged[schema.target], schema)
    rows = ordered.tail(MOST_ROWS)[[c.name for c in schema.features]].reset_index(drop=True)
    losses = problem.row_losses(metric, y, answer)
    reference = Reference(rows, timed, losses, event_days(judged), answer, y, rows.tail(len(judged)))
    return reference, judged, answer


def reference_from(
    older: pd.DataFrame, judged: pd.DataFrame, answer: np.ndarray, schema: Schema, problem: Problem, metric: str
) -> Reference:
    """What was normal by rows that the recipe's rehearsal had not seen: no further fit, but whatever they drifted is in it.

    For a version that was turned down; should a person promote it all the same, it can be watched.

    Args:
        older: Rows that the version learns from, without the judged ones.
        judged: Rows that its rehearsal had not seen, (n, columns).
        answer: Its answers to them, (n,) or (n, n_classes).
        schema: Says the features, the target and whether there is time.
        problem: Gives the loss of a row.
        metric: The metric that decides.
    """
    timed = schema.time is not None
    order = np.argsort(judged[AT].to_numpy(), kind="stable")[-MOST_JUDGED:] if timed else np.arange(len(judged))
    judged, answer = judged.iloc[order].reset_index(drop=True), answer[order]
    older = older.sort_values(AT, kind="stable") if timed else older
    names = [column.name for column in schema.features]
    rows = pd.concat([older[names], judged[names]], ignore_index=True).tail(MOST_ROWS).reset_index(drop=True)
    y = problem.encode_target(judged[schema.target], schema)
    losses = problem.row_losses(metric, y, answer)
    return Reference(rows, timed, losses, event_days(judged), answer, y, rows.tail(len(judged)))


def _out_of_fold(
    ordered: pd.DataFrame, judged: pd.DataFrame, problem: Problem, fit: Callable[[pd.DataFrame], Any], seed: int,
    *, timed: bool,
) -> np.ndarray:  # fmt: skip
    units = pd.factorize(event_days(judged))[0] if timed else np.arange(len(judged))
    folds = min(FOLDS, max(FEWEST_FOLDS, math.ceil(len(judged) / (LEFT_OUT * len(ordered)))))
    fold = (np.random.default_rng(seed).permutation(int(units.max()) + 1) % folds)[units]
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(folds):
        out = np.flatnonzero(fold == number)
        if len(out):
            others = np.delete(np.arange(len(ordered)), len(ordered) - len(judged) + out)  # the judged are the last
            model = fit(ordered.iloc[others])
            parts.append((out, problem.predict(model, judged.iloc[out])))
    answer = np.empty((len(judged), *parts[0][1].shape[1:]))
    for out, said in parts:
        answer[out] = said
    return answer


def keep_reference(reference: Reference, folder: Path) -> None:
    """Write a reference into a version's evidence.

    What belongs to a row stands in its row, so that they stay together when rows are erased.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = reference.rows.reset_index(drop=True)
    if reference.judged is not None and reference.answers is not None and reference.targets is not None:
        table = table.assign(**_beside(reference, len(table)))
        np.savez(folder / "losses.npz", timed=np.array([reference.timed]))
    else:
        losses, days = reference.losses, reference.loss_days
        np.savez(folder / "losses.npz", losses=losses, days=days, timed=np.array([reference.timed]))
    table.to_parquet(folder / "reference.parquet", index=False)


def _beside(reference: Reference, rows: int) -> dict[str, np.ndarray]:
    """Loss, day, target and answer of each judged row as columns (rows,); NaN for the older rows."""
    answers = np.asarray(reference.answers, dtype=np.float64).reshape(len(reference.losses), -1)
    columns = {LOSS: reference.losses, DAY: reference.loss_days, TARGET: reference.targets}
    columns |= {f"{ANSWER}{i}": answers[:, i] for i in range(answers.shape[1])}
    older = np.full(rows - len(reference.losses), np.nan)
    judged = np.repeat([False, True], [rows - len(reference.losses), len(reference.losses)])
    return {name: np.concatenate([older, np.asarray(v, dtype=np.float64)]) for name, v in columns.items()} | {
        JUDGED: judged
    }


def load_reference(folder: Path) -> Reference | None:
    """Read what `keep_reference` wrote, now or in earlier releases; `None` if it is not there."""
    if not (folder / "losses.npz").exists():
        return None
    table = pd.read_parquet(folder / "reference.parquet")
    with np.load(folder / "losses.npz") as kept:
        timed = bool(kept["timed"][0])
        if JUDGED not in table:  # written before answers and targets were kept
            return Reference(table, timed, kept["losses"], kept["days"])
    own = [str(name) for name in table if str(name).startswith(OWN)]
    rows, judged = table.drop(columns=own), table[JUDGED].to_numpy(dtype=bool)
    beside = table[judged]
    answers = beside[[name for name in own if name.startswith(ANSWER)]].to_numpy()
    return Reference(
        rows,
        timed,
        beside[LOSS].to_numpy(),
        beside[DAY].to_numpy().astype(np.int64),
        answers[:, 0] if answers.shape[1] == 1 else answers,
        beside[TARGET].to_numpy(),
        rows[judged].reset_index(drop=True),
    )
