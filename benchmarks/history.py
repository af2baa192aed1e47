"""What to learn from, measured: `python -m benchmarks.history [bikes|chicago]`.

Walks through a real stream, learns again at every step with one fixed recipe, and compares fixed histories with the one
that a back-test on the past alone would have chosen. Prints the mean absolute error, by history, and the CPU seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.streams import Stream, bikes, chicago
from treadle.families import load_family
from treadle.learning.history import Choice, History, choose
from treadle.problems import load_problem
from treadle.tables.data import AT

LINE = "{:<16}{:>10}{:>14}"


@dataclass(frozen=True)
class Walk:
    """How a stream is walked through.

    Attributes:
        start: The first step.
        step: Time between two retrains.
        delay: Time after which a label is known.
        histories: Fixed ones to compare with.
    """

    start: pd.Timestamp
    step: timedelta
    delay: timedelta
    histories: tuple[str, ...]


WALKS = {
    "bikes": Walk(
        pd.Timestamp("2011-04-01"), timedelta(days=14), timedelta(days=7),
        ("all", "4w", "8w", "12w", "26w", "weighted 2w", "weighted 4w", "weighted 8w", "weighted 16w"),
    ),
    "chicago": Walk(
        pd.Timestamp("2004-01-01"), timedelta(days=91), timedelta(days=1),
        ("all", "26w", "52w", "104w", "156w", "260w", "weighted 13w", "weighted 26w", "weighted 52w", "weighted 104w"),
    ),
}  # fmt: skip


class Recipe:
    """Gradient boosting with its defaults on positions of a stream, whole or as a sketch."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.problem = load_problem(stream.project.problem)
        self.family = load_family("gradient-boosting")
        self.defaults = self.family.defaults(self.problem)
        self.y = self.problem.encode_target(stream.frame[stream.schema.target], stream.schema)

    def losses(self, learn: np.ndarray, weights: np.ndarray | None, judge: np.ndarray, *, whole: bool) -> np.ndarray:
        """Absolute errors on the rows `judge` after learning from the rows `learn`."""
        frame = self.stream.frame
        how: dict[str, Any] = {} if weights is None else {"weights": weights}
        params = self.defaults if whole else self.family.sketch(self.defaults)
        fitted = self.family.fit(
            frame.iloc[learn].reset_index(drop=True), self.y[learn], params, problem=self.problem,
            schema=self.stream.schema, metric="mae", **how,
        )  # fmt: skip
        answer = self.problem.predict(fitted.model, frame.iloc[judge])
        return self.problem.row_losses("mae", self.y[judge], answer)


def walk(stream: Stream, plan: Walk) -> None:
    """Print the table of one stream."""
    recipe, times = Recipe(stream), stream.frame[AT].to_numpy()
    errors: dict[str, list[np.ndarray]] = {}
    spent: dict[str, float] = {}
    chosen: list[str] = []
    for at in pd.date_range(plan.start, times.max(), freq=pd.Timedelta(plan.step)):
        past = np.flatnonzero(times < (at - plan.delay).to_datetime64())
        judge = np.flatnonzero((times >= at.to_datetime64()) & (times < (at + plan.step).to_datetime64()))
        for name in (*plan.histories, "auto", "auto weighted"):
            began = time.process_time()
            history = History.of(name) if name in plan.histories else _chosen(recipe, times, past, name, plan).history
            learn = past[history.within(times[past])]
            errors.setdefault(name, []).append(recipe.losses(learn, history.weights(times[learn]), judge, whole=True))
            spent[name] = spent.get(name, 0.0) + time.process_time() - began
            if name == "auto":
                chosen.append(history.name)
    print(f"\n{stream.name}: {len(errors['all'])} steps, {sum(map(len, errors['all'])):,} rows")
    print(LINE.format("learned from", "MAE", "CPU seconds"))
    for name, parts in errors.items():
        print(LINE.format(name, f"{np.concatenate(parts).mean():.4g}", f"{spent[name]:.0f}"))
    print("auto chose:", ", ".join(chosen))


def _chosen(recipe: Recipe, times: np.ndarray, past: np.ndarray, name: str, plan: Walk) -> Choice:
    def fit(learn: np.ndarray, weights: np.ndarray | None, judge: np.ndarray) -> np.ndarray:
        return recipe.losses(past[learn], weights, past[judge], whole=False)

    rule = "weighted" if name == "auto weighted" else "auto"
    return choose(times[past], fit, rule=rule, horizon=plan.step, seconds=60.0)


def main(names: Sequence[str]) -> None:
    """Walk through the streams that are named, or both."""
    for name in names or tuple(WALKS):
        walk({"bikes": bikes, "chicago": chicago}[name](), WALKS[name])


if __name__ == "__main__":
    main(sys.argv[1:])
