"""What a duel compares: both sides' answers to the same rows. Plain data; it judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treadle.problems import Problem

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bout:
    """Both sides' answers to the same rows.

    Attributes:
        y: Encoded target (n,).
        champion: The champion's answers, (n,) or (n, n_classes).
        challenger: The challenger's, the same shape.
        frame: The rows, (n, columns).
        blocks: A label a row (n,), such as its day; `None` when rows do not depend on each other.
        givers: Who gave each row's label (n,), `""` where nobody in particular; `None` when that is not known.
    """

    y: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray
    frame: pd.DataFrame
    blocks: np.ndarray | None = None
    givers: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> Bout:
        """The same of some rows, by mask or by position."""
        taken = [part if part is None else part[rows] for part in (self.blocks, self.givers)]
        return Bout(
            self.y[rows], self.champion[rows], self.challenger[rows], self.frame[rows].reset_index(drop=True), *taken
        )

    def gain(self, problem: Problem, metric: str) -> float:
        """How much better the challenger is, in the metric's unit; negative if worse."""
        measure = problem.metrics[metric]
        return float(measure.gain(measure.score(self.y, self.champion), measure.score(self.y, self.challenger)))
