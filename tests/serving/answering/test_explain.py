"""Explanations: against Shapley values by brute force, closed forms, and what must hold for all of them."""

import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.answering import explain as explaining
from serving.answering.decode import to_columns
from serving.answering.explain import MOST_RUNS, explain, make_plan
from serving.answering.predict_routes import MOST_WAITING
from serving.app import create_app
from serving.models.champions import Champions
from treadle.models.bundle import Manifest, ManifestColumn

ROW = {"size": 61.0, "serial": 1e12 + 3, "member": True, "plan": "pro", "when": "2024-01-05T06:00:00"}
OTHER = {"size": None, "serial": 1e12, "member": False, "plan": None, "when": "2024-01-07T23:00:00"}


class Formula:
    """A model that is a formula of its columns, and counts what it is asked."""

    def __init__(self, formula, background, classes=None):
        columns = tuple(ManifestColumn(name, "number") for name in background[0])
        self.manifest = Manifest(
            model="f", problem="", family="", columns=columns, target="y", metric="", background=background,
            classes=classes,
        )  # fmt: skip
        self.formula, self.runs, self.calls = formula, 0, 0

    def answer(self, columns):
        self.calls += 1
        self.runs += len(next(iter(columns.values())))
        return self.formula(**columns)


def rows_of(count, names="abcd", seed=1):
    rng = np.random.default_rng(seed)
    return tuple(dict(zip(names, map(float, rng.normal(size=len(names))), strict=True)) for _ in range(count))


def explained(model, rows):
    columns = to_columns(rows, model.manifest)
    return explain(model, columns, model.answer(columns))


def brute_force(model, row, background, target=0):
    """Shapley values by their definition: every subset of the columns, every background row."""
    names = [column.name for column in model.manifest.columns]

    def worth(subset):
        mixed = [other | {name: row[name] for name in subset} for other in background]
        answers = np.asarray(model.answer(to_columns(mixed, model.manifest)), dtype=np.float64)
        return answers.reshape(len(mixed), -1)[:, target].mean()

    worths = {frozenset(s): worth(s) for size in range(len(names) + 1) for s in itertools.combinations(names, size)}
    shares = {}
    for name in names:
        others = [n for n in names if n != name]
        shares[name] = sum(
            math.factorial(len(s)) * math.factorial(len(names) - len(s) - 1) / math.factorial(len(names))
            * (worths[frozenset(s) | {name}] - worths[frozenset(s)])
            for size in range(len(names))
            for s in itertools.combinations(others, size)
        )  # fmt: skip
    return shares


@pytest.fixture
def served(trained):
    from serving.models.last_good import open_ledger

    champions = Champions(trained.settings, open_ledger(trained.settings))
    champions.refresh()
    return champions


def test_a_linear_model_has_its_closed_form():
    background = rows_of(25)
    model = Formula(lambda a, b, c, d: 3 * a - 2 * b + 0 * c + d / 2, background)
    (said,) = explained(model, [{"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}])
    mean = {name: np.mean([row[name] for row in background]) for name in "abcd"}
    wanted = {"a": 3 * (1 - mean["a"]), "b": -2 * (2 - mean["b"]), "c": 0, "d": (4 - mean["d"]) / 2}
    assert said["contributions"] == pytest.approx(wanted, abs=1e-12)


def test_pairs_of_columns_are_exact():
    background = rows_of(25)
    model = Formula(lambda a, b, c, d: a * b - np.maximum(c, d) + b * d, background)
    row = {"a": 1.0, "b": 2.0, "c": 3.0, "d": -4.0}
    (said,) = explained(model, [row])
    assert said["contributions"] == pytest.approx(brute_force(model, row, background), abs=1e-12)


def test_three_columns_at_once_come_near_and_nearer_with_more_orders(monkeypatch):
    background = rows_of(25)
    model = Formula(lambda a, b, c, d: a * b * c + d, background)
    row = {"a": 1.0, "b": 2.0, "c": 1.5, "d": -4.0}
    wanted = brute_force(model, row, background)
    for runs, distance in ((explaining.MOST_RUNS, 0.2), (100 * explaining.MOST_RUNS, 0.02)):
        monkeypatch.setattr(explaining, "MOST_RUNS", runs)
        (said,) = explained(model, [row])
        assert said["contributions"] == pytest.approx(wanted, abs=distance)
        assert said["contributions"]["d"] == pytest.approx(wanted["d"], abs=1e-9)


@pytest.mark.parametrize("name", ["amount", "churned", "timeless"])
def test_trained_models_against_brute_force(served, name):
    model = served.get(name)
    row = {column.name: ROW[column.name] for column in model.manifest.columns}
    columns = to_columns([row], model.manifest)
    values = model.answer(columns)
    target = int(values[0].argmax()) if model.manifest.classes else 0
    (said,) = explain(model, columns, values)
    wanted = brute_force(model, row, model.manifest.background, target)
    spread = max(map(abs, wanted.values()))
    assert said["contributions"] == pytest.approx(wanted, abs=0.05 * spread)
    assert said.get("class") == (model.manifest.classes[target] if model.manifest.classes else None)


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
def test_contributions_sum_to_the_prediction_minus_the_base(columns):
    names = "abcdefghi"[:columns]
    model = Formula(lambda **c: np.sin(sum(c.values())) * np.exp(c["a"]), rows_of(25, names))
    rows = rows_of(10, names, seed=2)
    answers = model.answer(to_columns(rows, model.manifest))
    for said, answer in zip(explained(model, rows), answers, strict=True):
        assert said["base"] + sum(said["contributions"].values()) == pytest.approx(answer, abs=1e-12)


def test_the_cost_of_a_row_is_bounded():
    for columns in (1, 2, 5, 40, 400, 5000):
        plan = make_plan(columns, 25)
        assert plan.replaced.shape[0] * plan.replaced.shape[1] <= max(MOST_RUNS, 2 * columns)
        assert sorted(plan.orders[0].tolist()) == list(range(columns))
        assert len(set(np.bincount(plan.rows))) == 1  # each background row as often as the others
    names = [f"c{k}" for k in range(40)]
    model = Formula(lambda **c: sum(c.values()), rows_of(25, names))
    explained(model, rows_of(3, names))
    assert model.calls == 1 + 1 + 3
    assert model.runs <= 3 + 25 + 3 * MOST_RUNS


def test_the_same_row_is_explained_in_the_same_way_whatever_is_beside_it(served):
    model = served.get("amount")
    alone, together = to_columns([ROW], model.manifest), to_columns([OTHER, ROW], model.manifest)
    first = explain(model, alone, model.answer(alone))[0]
    again = explain(model, together, model.answer(together))[1]
    assert again["contributions"] == pytest.approx(first["contributions"], rel=1e-6, abs=1e-6)


def test_the_route_adds_explanations_to_the_answer(trained_client):
    path = "/v1/models/churned/predict"
    plain = trained_client.post(path, json={"rows": [ROW, OTHER]}).json()
    said = trained_client.post(f"{path}?explain=true", json={"rows": [ROW, OTHER]}).json()
    for row, without in zip(said["predictions"], plain["predictions"], strict=True):
        explanation = row.pop("explanation")
        assert row["prediction"] == without["prediction"] == explanation["class"]
        assert list(explanation["contributions"]) == list(ROW)
        total = explanation["base"] + sum(explanation["contributions"].values())
        assert total == pytest.approx(row["probabilities"][row["prediction"]], abs=1e-9)
    assert (
        trained_client.post(f"{path}?explain=false", json={"rows": [ROW]}).json()["predictions"][0].keys() == row.keys()
    )


def test_explained_rows_are_in_the_ledger(trained_client):
    said = trained_client.post("/v1/models/amount/predict?explain=true", json={"rows": [ROW], "ids": ["explained"]})
    assert said.json()["predictions"][0]["id"] == "explained"
    labels = {"labels": [{"id": "explained", "label": 1.5}]}
    assert trained_client.post("/v1/models/amount/feedback", json=labels).json()["accepted"] == 1


def test_what_is_refused(trained_client, monkeypatch):
    path = "/v1/models/amount/predict?explain"
    assert trained_client.post(f"{path}=true", json={"rows": [ROW] * 101}).status_code == 413
    assert trained_client.post(f"{path}=maybe", json={"rows": [ROW]}).status_code == 422
    assert trained_client.post(f"{path}=true&explain=false", json={"rows": [ROW]}).status_code == 422
    assert trained_client.post(f"{path}=true", json={"rows": [ROW | {"size": "many"}]}).json()["column"] == "size"
    arrow = {"content-type": "application/vnd.apache.parquet"}
    assert trained_client.post(f"{path}=true", content=b"x", headers=arrow).status_code == 415
    monkeypatch.setattr(explaining, "DEADLINE_S", -1.0)
    assert trained_client.post(f"{path}=true", json={"rows": [ROW]}).status_code == 503


def test_explanations_keep_no_large_request_waiting(trained_client, monkeypatch):
    """All threads of a worker were busy explaining, for minutes, when one caller asked for a few at once."""
    path, goes_on, begun = "/v1/models/amount/predict", threading.Event(), threading.Event()

    def slow(*_: object) -> list[dict[str, object]]:
        begun.set()
        assert goes_on.wait(30)
        return [{}]

    def ask(_: int = 0) -> int:
        return trained_client.post(f"{path}?explain=true", json={"rows": [ROW]}).status_code

    monkeypatch.setattr(explaining, "explain", slow)
    with ThreadPoolExecutor(12) as callers:
        first = callers.submit(ask)
        assert begun.wait(30)
        others = [callers.submit(ask) for _ in range(11)]
        wait_for(lambda: sum(other.done() for other in others) == 11 - MOST_WAITING)
        assert trained_client.post(path, json={"rows": [ROW] * 300}).status_code == 200  # in a thread, as it is large
        goes_on.set()
        assert first.result(30) == 200
        assert sorted(other.result(30) for other in others) == [200] * MOST_WAITING + [503] * (11 - MOST_WAITING)


def wait_for(true, deadline_s=30):
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_older_bundles_compare_with_their_smoke_rows(make_home):
    home = make_home()
    home.register()
    home.promote()
    row = {"temp": 3.5, "holiday": True, "when": "2011-01-01T05:00:00", "season": "winter"}
    with TestClient(create_app(home.settings)) as client:
        (said,) = client.post("/v1/models/toy/predict?explain=true", json={"rows": [row]}).json()["predictions"]
    assert said["explanation"] == {
        "base": 1013.5,
        "contributions": {"temp": 0.0, "holiday": 100.0, "when": 0.0, "season": -10.0},
    }


def test_a_version_without_any_rows_says_so():
    model = Formula(lambda a: a, ({"a": 1.0},))
    model.manifest = Manifest(
        model="f", problem="", family="", columns=model.manifest.columns, target="y", metric="", background=()
    )
    with pytest.raises(explaining.BadRequest, match="no rows"):
        explained(model, [{"a": 2.0}])
