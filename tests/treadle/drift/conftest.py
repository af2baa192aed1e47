"""A small world that stands still: four inputs, answers, labels and losses; a test then moves one thing."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference, Window
from treadle.tables.schema import Column

COLUMNS = (
    Column(name="size", kind="number"),
    Column(name="age", kind="number"),
    Column(name="plan", kind="category"),
    Column(name="member", kind="boolean"),
    Column(name="city", kind="category"),
)


@dataclass(frozen=True)
class Scene:
    """Rows with their answers, targets and losses, one an hour."""

    rows: pd.DataFrame
    answers: np.ndarray
    targets: np.ndarray
    losses: np.ndarray

    def reference(self, judged=2000):
        """All of it as a reference, the newest rows judged."""
        rows = self.rows.reset_index(drop=True)
        days = np.arange(len(rows))[-judged:] // 24
        newest = self.losses[-judged:], days, self.answers[-judged:], self.targets[-judged:], rows.tail(judged)
        return Reference(rows, True, *newest)

    def window(self, labelled=0):
        """All of it as a window, the oldest `labelled` rows with labels."""
        days = 10_000 + np.arange(labelled) // 24
        known = self.losses[:labelled], days, self.answers, self.targets[:labelled], self.rows.iloc[:labelled]
        return Window(self.rows, *known)

    def but(self, **values):
        """With other columns."""
        return replace(self, rows=self.rows.assign(**values))


def scene(n, seed):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "size": rng.normal(50, 10, n),
            "age": np.where(rng.random(n) < 0.02, np.nan, rng.gamma(4, 10, n)),
            "plan": rng.choice(["basic", "plus", "pro"], n, p=[0.6, 0.3, 0.1]),
            "member": (rng.random(n) < 0.4).astype(float),
            "city": [f"city {i}" for i in rng.zipf(1.4, n) % 4000],
        }
    )
    answers = rows["size"].to_numpy() / 10 + 2 * rows["member"].to_numpy()
    return Scene(rows, answers, answers + rng.normal(0, 0.5, n), rng.exponential(1, n))


@pytest.fixture(scope="session")
def world():
    """`columns`, `scene(n, seed)`, and a reference of 5,000 rows."""
    return SimpleNamespace(columns=COLUMNS, scene=scene, reference=scene(5000, 1).reference())
