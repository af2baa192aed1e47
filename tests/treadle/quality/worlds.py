"""Seeded worlds in which everything is known: a model, rows that it has not seen, and how inputs can move."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from treadle.problems import load_problem
from treadle.quality.estimator import make_estimator
from treadle.quality.use import column_use
from treadle.tables.data import AT
from treadle.tables.schema import Column, Schema

CLASSES = ("no", "yes")


def schema_of(problem):
    classes = CLASSES if problem.endswith("classification") else None
    columns = (
        Column(name="risk", kind="number"),
        Column(name="colour", kind="number"),
        Column(name="shop", kind="category"),
        Column(name="y", kind="category" if classes else "number"),
    )
    return Schema(columns=columns, target="y", classes=classes)


@dataclass(frozen=True)
class World:
    """Errors grow with `risk`, which a regression does not use; shop C is hard; `colour` says nothing."""

    problem_name: str
    metric: str

    @property
    def problem(self):
        return load_problem(self.problem_name)

    @property
    def schema(self):
        return schema_of(self.problem_name)

    def rows(self, n, seed, risk=0.0, colour=0.0, shop_c=0.1, twist=0.0):
        """Rows and their targets; `twist` changes what the same inputs mean (concept drift)."""
        rng = np.random.default_rng(seed)
        rest = (1 - shop_c) / 2
        frame = pd.DataFrame(
            {
                "risk": np.clip(rng.beta(2, 3, n) + risk, 0, None),
                "colour": rng.normal(colour, 1, n),
                "shop": rng.choice(["A", "B", "C"], n, p=[rest, rest, shop_c]),
            }
        )
        hard = frame["risk"].to_numpy() + (frame["shop"] == "C").to_numpy()
        signal = self.signal(frame)
        if self.schema.classes:
            chance = 1 / (1 + np.exp(-(1 - twist) * signal * np.exp(-1.5 * hard)))
            frame["y"] = np.where(rng.random(n) < chance, "yes", "no")
        else:
            frame["y"] = signal + twist + rng.normal(0, 0.3 + hard, n)
        frame[AT] = pd.NaT
        return frame

    def signal(self, frame):
        return (4.0 if self.schema.classes else 2.0) * np.where(frame["shop"] == "A", 1.0, -1.0)

    def answer(self, frame):
        """What a model that has understood this world says."""
        signal = self.signal(frame)
        if not self.schema.classes:
            return signal
        hard = frame["risk"].to_numpy() + (frame["shop"] == "C").to_numpy()
        chance = 1 / (1 + np.exp(-signal * np.exp(-1.5 * hard)))
        return np.column_stack([1 - chance, chance])

    def truth(self, frame):
        return self.problem.encode_target(frame["y"], self.schema)

    @cache  # noqa: B019 - a few worlds, as long as the tests run
    def uses(self):
        frame = self.rows(1500, 90)
        names = [c.name for c in self.schema.features]
        return column_use(self.problem, self.metric, self.answer, frame, self.truth(frame), names, seed=0)

    def estimator(self, rows=2000, seed=91):
        frame = self.rows(rows, seed)
        answer = self.answer(frame)
        return make_estimator(frame, answer, frame, self.schema, self.problem, self.metric, self.uses(), seed=0)

    def losses(self, frame):
        return self.problem.row_losses(self.metric, self.truth(frame), self.answer(frame))
