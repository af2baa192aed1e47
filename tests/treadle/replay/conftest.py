"""Small projects on disk whose world changes once, and ones in which nothing happens."""

import numpy as np
import pandas as pd
import pytest
import yaml

from treadle.project import read_project

DAYS, HOURS = 44, 12


def hours(days=DAYS, seed=3, change=None, classify=False):
    """`days` days of twelve rows: a target that follows two columns, and from the day `change` on the other way."""
    rng = np.random.default_rng(seed)
    n = days * HOURS
    day = np.arange(n) // HOURS
    table = pd.DataFrame(
        {
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(day * 24 + np.arange(n) % HOURS, unit="h"),
            "size": rng.normal(10, 2, n),
            "plan": rng.choice(["basic", "plus"], n),
        }
    )
    sign = np.where(day >= change, -1.0, 1.0) if change is not None else np.ones(n)
    signal = sign * (table["size"] - 10) * 3 + (table["plan"] == "plus") * 2 + rng.normal(0, 0.5, n)
    table["y"] = np.where(signal > 1, "yes", "no") if classify else signal + 20
    return table


@pytest.fixture
def make_project(tmp_path):
    """Writes a project with a table; keys of its YAML may be given."""

    def make(table, name="toy", problem="tabular-regression", **parts):
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "rows.csv", index=False)
        content = {
            "name": name,
            "problem": problem,
            "data": {"source": "rows.csv", "target": "y", "time": "when", "ignore": ["when"]},
            "train": {"families": ["linear"]},
            "promote": {"metric": "mae" if problem.endswith("regression") else "log_loss"},
            "watch": {"window": 96, "min_rows": 30, "min_labelled": 24},
            "retrain": {"cooldown": "1d", "min_new_labels": 24},
        }
        content |= {key: content.get(key, {}) | value for key, value in parts.items()}
        (folder / "project.yaml").write_text(yaml.safe_dump(content))
        return read_project(folder / "project.yaml")

    return make
