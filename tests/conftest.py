"""What every test may ask for: an isolated home, and small tables with everything in them that goes wrong."""

import os

import numpy as np
import pandas as pd
import pytest

from treadle.project import Data
from treadle.settings import TELEMETRY_OFF, Settings

os.environ.update(TELEMETRY_OFF)


@pytest.fixture
def settings(tmp_path):
    """An installation of its own."""
    return Settings(home=tmp_path)


@pytest.fixture
def toy_table(_toy_table):
    """A copy of the toy table, to do with as the test likes."""
    return _toy_table.copy()


@pytest.fixture(scope="session")
def _toy_table():
    """600 raw rows: numbers with gaps, a large offset, a boolean, categories with gaps, hourly times; both targets."""
    rng = np.random.default_rng(7)
    n = 600
    table = pd.DataFrame(
        {
            "size": rng.normal(50, 10, n),
            "serial": 1e12 + rng.integers(0, 500, n),
            "member": rng.random(n) < 0.4,
            "plan": rng.choice(["basic", "plus", "pro", None], n, p=[0.5, 0.3, 0.15, 0.05]),
            "when": pd.date_range("2024-01-01", periods=n, freq="h"),
        }
    )
    table.loc[::9, "size"] = np.nan
    signal = (
        table["size"].fillna(50) / 10
        + table["member"] * 3
        + table["plan"].map({"basic": 0, "plus": 2, "pro": 5}).fillna(1).astype(float)
        + np.sin(table["when"].dt.hour / 24 * 2 * np.pi)
    )
    table["amount"] = signal + rng.normal(0, 0.3, n)
    table["churned"] = np.where(signal + rng.normal(0, 0.5, n) > signal.median(), "yes", "no")
    return table


@pytest.fixture(scope="session")
def toy(_toy_table):
    """Makes (schema, conformed frame) of the toy table for a problem."""
    from treadle.tables.data import conform, infer_schema

    def make(problem):
        target, other = ("amount", "churned") if problem.endswith("regression") else ("churned", "amount")
        raw = _toy_table.drop(columns=other)
        data = Data(source="toy.csv", target=target, time="when")
        schema = infer_schema(raw, data, problem)
        return schema, conform(raw, schema)

    return make
