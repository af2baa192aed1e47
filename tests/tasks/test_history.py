"""How much of the past a turn learns from: by the project's word, by a back-test, or as the last back-test found."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tasks.history import _choose, say_history
from treadle.learning.recipe import KEPT
from treadle.learning.split import split_rows
from treadle.ledger import Ledger, Version
from treadle.models.evidence import Evidence
from treadle.project import Project
from treadle.tables.data import conform, infer_schema


def table(days=200, turned=100):
    """Hourly rows of a world whose slope turns round after some days."""
    rng = np.random.default_rng(4)
    n = days * 24
    x = rng.normal(0, 1, n)
    slope = np.where(np.arange(n) < turned * 24, -2.0, 2.0)
    when = pd.date_range("2024-01-01", periods=n, freq="h")
    return pd.DataFrame({"when": when, "x": x, "y": slope * x + rng.normal(0, 0.5, n)})


def project(history="auto", *, time="when"):
    data = {"source": "t.csv", "target": "y", **({"time": time} if time else {})}
    return Project.model_validate(
        {
            "name": "shop", "problem": "tabular-regression", "data": data, "train": {"families": ["linear"]},
            "watch": {"window": 336}, "retrain": {"history": history},
        }
    )  # fmt: skip


def choice(settings, made, raw, **how):
    schema = infer_schema(raw, made.data, made.problem)
    frame = conform(raw, schema)
    return _choose(settings, made, schema, frame, split_rows(frame, made, schema, frozen=None, seen=None), **how)


@pytest.fixture
def changed():
    return table()


def test_a_world_that_turned_round_is_learned_from_since_then(settings, changed):
    found = choice(settings, project(), changed)
    assert found.history.window is not None
    assert found.history.window.days < 100
    said = say_history(found.figures())
    assert found.history.name in said
    whole = found.tried[0]
    assert f"| all | {whole.error:.4g} | {whole.error:.4g} |" in said
    for tried in found.tried:
        same = sum(whole.folds[: len(tried.folds)]) / len(tried.folds)
        assert f"| {tried.name} | {tried.error:.4g} | {same:.4g} |" in said


def test_weighted_takes_no_window(settings, changed):
    assert choice(settings, project("weighted"), changed).history.half_life is not None


@pytest.mark.parametrize(
    ("history", "time", "name"), [("all", "when", "all"), ("3w", "when", "3w"), ("auto", None, "all")]
)
def test_the_projects_word_and_a_table_without_times_need_no_test(settings, changed, history, time, name):
    found = choice(settings, project(history, time=time), changed)
    assert found.history.name == name
    assert found.tried == ()


def test_a_back_test_is_kept_while_little_is_new(settings, changed):
    before = choice(settings, project(), changed)
    ledger = Ledger.open(settings)
    ledger.add_version(
        Version("shop", 1, "run", "b", "d" * 64, "linear", {"strength": 1.0}, {}, datetime(2024, 6, 1, tzinfo=UTC))
    )
    ledger.promote("shop", 1, None, reason="first")
    Evidence(settings, "shop").keep_history(1, before.figures() | {"rule": "auto"})
    Evidence(settings, "shop").keep_history(2, before.figures() | {"rule": "auto", "why": "Of one turned down."})
    assert choice(settings, project(), table(205)).why == f"{KEPT}Of one turned down."
    Evidence(settings, "shop").keep_history(2, before.figures() | {"rule": "auto"})
    kept = choice(settings, project(), table(205))
    assert kept.why == f"{KEPT}{before.why}"
    assert kept.tried == before.tried
    assert not choice(settings, project(), table(320)).why.startswith(KEPT)
    assert choice(settings, project(), table(320), hold=True).history == before.history
    assert not choice(settings, project("weighted"), table(205)).why.startswith(KEPT)
