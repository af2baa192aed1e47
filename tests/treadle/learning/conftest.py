"""Two toy families that are installed by entry point, and a search among them."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from treadle.learning import study as studies
from treadle.learning.search import SearchSpec
from treadle.settings import Settings
from treadle.tables.data import AT, ROW, SOURCE, snapshot
from treadle.tables.schema import Column, Schema

TOY = '''
import os, time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Line:
    slope: float

    def predict(self, X):
        return X["a"].to_numpy() * self.slope


@dataclass
class Fitted:
    model: object
    params: dict


class Toy:
    """Predicts slope * a, in ten steps; what it does beside that stands in the environment."""

    name = "toy"
    problems = ("tabular-regression",)

    def defaults(self, problem):
        return {"slope": 0.5, "kind": "plain", "steps": 5}

    def search_space(self, trial, problem):
        return {
            "slope": trial.suggest_float("slope", 0.0, 4.0),
            "kind": trial.suggest_categorical("kind", ["plain", "fancy"]),
            "steps": 10,
        }

    def fit(self, X, y, params, *, problem, schema, metric, valid, seed, report):
        if message := os.environ.get("TOY_RAISES"):
            raise ValueError(message)
        folder = os.environ.get("TOY_FOLDER")
        if folder:
            Path(folder, f"{os.getpid()}.pid").touch()
        model = Line(0.0)
        for step in range(params["steps"]):
            time.sleep(float(os.environ.get("TOY_STEP_S", "0")))
            model.slope += params["slope"] / 10
            report(step, problem.metrics[metric].score(valid[1], problem.predict(model, valid[0])))
        return Fitted(model, dict(params) | {"steps": 9})


class Other(Toy):
    name = "other"

    def defaults(self, problem):
        return {"slope": 3.0, "kind": "fancy", "steps": 5}

    def fit(self, X, y, params, **rest):
        if os.environ.get("OTHER_RAISES"):
            raise ValueError("other cannot")
        return super().fit(X, y, params, **rest)
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Two families that are installed by entry point, for this process and for those that it starts."""
    folder = tmp_path / "site"
    (folder / "toys-1.0.dist-info").mkdir(parents=True)
    (folder / "toy_families.py").write_text(TOY)
    (folder / "toys-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (folder / "toys-1.0.dist-info" / "entry_points.txt").write_text(
        "[treadle.families]\ntoy = toy_families:Toy\nother = toy_families:Other\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield folder
    sys.modules.pop("toy_families", None)


@pytest.fixture
def spec(tmp_path, toys):
    """A search on 60 rows whose best slope is 2."""
    rows = 60
    a = np.random.default_rng(0).uniform(1, 5, rows)
    frame = pd.DataFrame({"a": a, "y": 2 * a})
    frame[ROW] = [f"t:{i}" for i in range(rows)]
    frame[AT] = pd.Series([pd.NaT] * rows, dtype="datetime64[us]")
    frame[SOURCE] = "table"
    settings = Settings(home=tmp_path)
    schema = Schema(columns=(Column(name="a", kind="number"), Column(name="y", kind="number")), target="y")
    schema.save(tmp_path / "schema.json")
    ids = list(frame[ROW])
    (tmp_path / "split.json").write_text(json.dumps({"train": ids[:40], "valid": ids[40:], "test": []}))
    return SearchSpec(
        project="toys",
        folder=str(tmp_path / "study"),
        snapshot=str(snapshot(frame, settings, "toys")),
        split=str(tmp_path / "split.json"),
        schema=str(tmp_path / "schema.json"),
        problem="tabular-regression",
        metric="rmse",
        families=("toy", "other"),
        trials=8,
        minutes=1,
    )


def elsewhere(spec, name):
    return replace(spec, folder=str(Path(spec.folder).parent / name))


def finished(result):
    """What a search found, without what a clock says."""
    return [
        (t.family, t.params, t.score, t.state) for t in result.trials if t.state in ("complete", "pruned", "failed")
    ]


def start(spec, *, code="search(SearchSpec.load(Path(sys.argv[1])))"):
    """Run a search in a process of its own, so that it can be killed."""
    path = Path(spec.folder).parent / "asked.json"
    spec.save(path)
    script = f"import sys\nfrom pathlib import Path\nfrom treadle.learning.search import SearchSpec, search\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def finished_count(spec):
    if not (Path(spec.folder) / "journal.log").exists():
        return 0
    return studies.count_spent(studies.open_study(spec))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
