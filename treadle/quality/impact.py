"""What moved inputs cost: the change of the model's loss that is to be expected of them, and why, in plain words.

A move can only hurt through columns that the model uses, or along which its errors differ. Where values stay within what
was learned from, the estimator says what rows like these cost; a value that was never seen is taken as lost information,
which costs what shuffling its column costs. Weighing the reference's own losses by how much the window looks like them checks the figure.

Source of the check: H. Shimodaira, "Improving predictive inference under covariate shift by weighting the log-likelihood
function" (2000), with the weights of a classifier that tells window from reference, S. Bickel et al. (2009).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.quality.estimator import Estimator, Expected
from treadle.quality.loss_model import LOSS
from treadle.quality.use import Use
from treadle.tables.schema import Column

LEAST_EFFECTIVE = 50.0
"""Rows that weights must be worth before they say anything."""
LEAST_COVERED = 0.5
"""Share of the window that rows of the reference must look like."""
MOST_WEIGHT = 20.0


@dataclass(frozen=True)
class Impact:
    """What moved inputs cost.

    Attributes:
        harm: Expected change of the mean loss, as a share of it: 0.1 is a tenth more; `None` where it is not known.
        check: The same by weighting; `None` where too few rows of the reference look like the window.
        columns: `name`, `moved`, `used`, `tells`, `importance` of each column.
        reason: Why, in plain words.
    """

    harm: float | None
    check: float | None
    columns: tuple[dict[str, Any], ...]
    reason: str

    def figures(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"harm": self.harm, "check": self.check, "columns": list(self.columns), "reason": self.reason}


def judge_impact(
    estimator: Estimator | None, expected: Expected | None, moved: Collection[str], frame: pd.DataFrame,
    reference: pd.DataFrame | None, columns: Sequence[Column],
) -> Impact:  # fmt: skip
    """Say what moved inputs cost.

    Args:
        estimator: The version's estimator.
        expected: What it expects of the window.
        moved: Names of the columns that moved.
        frame: The window's rows (n, columns).
        reference: Rows that the version had not seen when it answered them, with their losses in `__loss__`.
        columns: The model's feature columns.
    """
    if estimator is None or expected is None or not len(expected.losses):
        return Impact(None, None, (), "What moved inputs cost is not known: there is nothing to estimate it by.")
    uses = {use.name: use for use in estimator.uses}
    table = tuple(_row(column.name, uses.get(column.name), column.name in moved) for column in columns)
    if not moved:
        return Impact(0.0, None, table, "No input moved, so none can have cost anything.")
    unknown = sorted(name for name in moved if name not in uses)
    if unknown:
        why = f"What the move of {', '.join(unknown)} costs is not known: how far the model uses it was not measured."
        return Impact(None, None, table, why)
    matter = [uses[name] for name in sorted(moved, key=lambda n: -uses[n].importance) if uses[name].matters]
    if not matter:
        why = f"The model does not use what moved ({', '.join(sorted(moved))}), nor do its errors differ along it: this cannot hurt it."
        return Impact(0.0, None, table, why)
    names = [use.name for use in matter]
    harm = _harm(estimator, expected, names)
    check = _weighted(frame, reference, [c for c in columns if c.name in names and c.kind != "datetime"])
    blind = estimator.method == "confidence" and not all(use.used for use in matter)  # to columns that are not used
    overruled = blind and check is not None and check > harm
    reason = _say(harm, check, matter, expected, overruled=overruled)
    return Impact(check if overruled else round(harm, 4), check, table, reason)


def _row(name: str, use: Use | None, moved: bool) -> dict[str, Any]:
    return {
        "name": name, "moved": moved, "used": use.used if use else None, "tells": use.tells if use else None,
        "importance": use.importance if use else None,
    }  # fmt: skip


def _harm(estimator: Estimator, expected: Expected, names: Sequence[str]) -> float:
    """Growth of the expected loss, with values that were never seen as lost information."""
    importance = {use.name: max(use.importance, 0.0) for use in estimator.uses}
    losses = expected.losses.copy()
    for name in names:
        if name in expected.outside:
            losses += expected.outside[name] * importance[name] * estimator.loss
    return float(losses.mean()) / max(estimator.loss, 1e-12) - 1


def _weighted(frame: pd.DataFrame, reference: pd.DataFrame | None, columns: Sequence[Column]) -> float | None:
    """Growth of the reference's mean loss when its rows count by how much they look like the window's."""
    if reference is None or not columns or not len(frame) or any(c.name not in reference for c in columns):
        return None
    from sklearn.linear_model import LogisticRegression

    from treadle.encoder import TableEncoder

    names = [column.name for column in columns]
    both = pd.concat([reference[names], frame[names]], ignore_index=True)
    is_window = np.arange(len(both)) >= len(reference)
    matrix = TableEncoder([c.model_dump() for c in columns], "onehot", smooth=True).fit_transform(both)
    matrix = np.column_stack([matrix, matrix**2])
    chance = LogisticRegression(C=0.1, max_iter=300).fit(matrix, is_window).predict_proba(matrix)[~is_window, 1]
    weights = np.clip(chance / (1 - chance) * len(reference) / len(frame), 0.0, MOST_WEIGHT)
    if weights.mean() < LEAST_COVERED or weights.sum() ** 2 / max(float(np.sum(weights**2)), 1e-12) < LEAST_EFFECTIVE:
        return None
    losses = reference[LOSS].to_numpy(dtype=np.float64)
    return round(float(np.average(losses, weights=weights)) / max(float(losses.mean()), 1e-12) - 1, 4)


def _say(harm: float, check: float | None, matter: Sequence[Use], expected: Expected, *, overruled: bool) -> str:
    """The figure, the other way to it, and which of the two counts: `overruled` if the check does."""
    named = ", ".join(
        f"{use.name} (without it the loss would be {use.importance:.0%} higher)"
        if use.used
        else f"{use.name} (errors differ along it)"
        for use in matter
    )
    direction = "more" if harm >= 0 else "less"
    strange = {u.name: float(expected.outside[u.name].mean()) for u in matter if u.name in expected.outside}
    unlike = [f"{name} {share:.0%}" for name, share in strange.items() if share >= 0.01]
    return (
        f"What moved matters to the model: {named}. Rows like these cost it an estimated {abs(harm):.1%} {direction} loss"
        + (f"; weighting rows of the reference says {check:+.1%}" if check is not None else "")
        + (
            ", which counts, since the model's confidence knows nothing of a column that it does not use"
            if overruled
            else ""
        )
        + (f". Values that it never learned from: {', '.join(unlike)}" if unlike else "")
        + ". Whether inputs have come to mean something else only labels can tell."
    )
