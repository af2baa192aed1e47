"""The wheel with everything real: command line, Prefect server, MLflow, the service, on a table that nobody has seen."""

import html
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from console.ports import free_port
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420), pytest.mark.xdist_group("wheel")]

TRAIN_KEYS = {
    "project", "run_id", "version", "decision", "reason", "metric", "challenger", "champion", "interval", "rows", "trials",
    "parity", "seconds", "cpu_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def api_port():
    return free_port("127.0.0.1")


@pytest.fixture(scope="module")
def treadle(home, api_port):
    """Runs a command; returns its exit code, its one JSON value and its log."""

    def run(*words, code=0):
        environment = os.environ | {"TREADLE_HOME": str(home), "TREADLE_API_PORT": str(api_port)}
        command = [sys.executable, "-m", "console.cli", *words, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr[-3000:]
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]

    return run


@pytest.fixture(scope="module")
def table(home):
    """Orders of a shop, as an export might look: dates, yes and no, thousands separators, gaps, ids, notes, a constant."""
    rng = np.random.default_rng(5)
    n = 500
    frame = pd.DataFrame(
        {
            "order id": [f"A-{i:06}" for i in range(n)],
            "ordered at": pd.date_range("2023-03-01", periods=n, freq="5h").strftime("%d.%m.%Y %H:%M"),
            "express": rng.choice(["yes", "no"], n),
            "value": [f"{value:,}" for value in rng.integers(200, 9000, n)],
            "region": rng.choice(["north", "south", "west", ""], n, p=[0.4, 0.3, 0.25, 0.05]),
            "note": [f"please leave the parcel number {i} with the neighbour" for i in range(n)],
            "currency": "EUR",
        }
    )
    hours = 40 - 20 * (frame["express"] == "yes") + 6 * (frame["region"] == "north") + rng.normal(0, 2, n)
    frame["hours"] = hours.round(1)
    path = home / "orders.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(treadle, table):
    inferred = treadle("init", "orders", "--from", str(table), "--target", "hours")
    return inferred, treadle("train", "orders", "--trials", "3")


@pytest.fixture(scope="module")
def service(home, api_port, trained):
    environment = os.environ | {"TREADLE_HOME": str(home), "TREADLE_API_PORT": str(api_port)}
    process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment)
    url = f"http://127.0.0.1:{api_port}/v1/models/orders"
    for _ in range(600):
        try:
            if httpx.get(url).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_init_says_what_it_inferred(trained):
    inferred, _ = trained
    kinds = {column["column"]: column["kind"] for column in inferred["columns"]}
    assert inferred["problem"] == "tabular-regression"
    assert inferred["time"] == "ordered at"
    assert kinds["express"] == "boolean"
    assert kinds["value"] in ("integer", "number")
    assert {"order id", "note", "currency"} <= set(inferred["ignored"])


def test_train_prints_what_scripts_rely_on(trained, home):
    _, summary = trained
    assert set(summary) >= TRAIN_KEYS
    assert summary["decision"] == "promoted"
    assert summary["version"] == 1
    assert summary["metric"] == "rmse"
    assert summary["challenger"] < 4
    assert 0 <= summary["parity"] <= 1
    assert (
        summary["rows"]["train"] + summary["rows"]["valid"] + summary["rows"]["test"] + summary["rows"]["holdout"]
        == 500
    )
    assert summary["trials"]["done"] + summary["trials"]["pruned"] == 3
    assert (home / "projects/orders/expectations.json").exists()
    assert (home / ".treadle/reports/orders/validation.html").exists()


@pytest.fixture(scope="module")
def looks(treadle, service):
    """150 predictions whose labels are a hundred hours off, and two looks at them, an hour apart."""
    example = httpx.get(service).raise_for_status().json()["example"]["rows"][0]
    rng = np.random.default_rng(1)
    rows = [
        example | {"express": bool(rng.random() < 0.5), "value": float(rng.integers(200, 9000))} for _ in range(150)
    ]
    times = [f"2023-07-{1 + i // 24:02}T{i % 24:02}:00:00Z" for i in range(150)]
    answer = httpx.post(f"{service}/predict", json={"rows": rows, "at": times}).raise_for_status().json()
    given = answer["predictions"]
    labels = [{"id": p["id"], "label": 100 + p["prediction"], "at": t} for p, t in zip(given, times, strict=True)]
    counts = httpx.post(f"{service}/feedback", json={"labels": labels}).json()
    first = treadle("watch", "orders", "--at", "2023-07-08T00:00:00Z")
    return counts, first, treadle("watch", "orders", "--at", "2023-07-08T01:00:00Z")


@pytest.fixture(scope="module")
def retrained(treadle, looks):
    return treadle("train", "orders", "--trials", "2", "--at", "2023-07-09T00:00:00Z")


def aliases(treadle):
    return {row["version"]: row["aliases"] for row in treadle("models", "orders")}


def test_models_lists_versions_with_their_runs(treadle, trained):
    rows = {row["version"]: row for row in treadle("models", "orders")}
    assert set(rows[1]) >= {"name", "version", "aliases", "metrics", "run_id"}
    assert rows[1]["run_id"] == trained[1]["run_id"]


def test_the_watch_judges_by_labels_and_the_policy_holds_back_a_second_retrain(looks):
    counts, look, again = looks
    assert counts == {"accepted": 150, "repeated": 0}
    assert set(look) >= {"project", "verdict", "reason", "window", "columns", "report"}
    assert look["verdict"] == "quality-loss"
    assert look["window"] == {"rows": 150, "labelled": 150, "answered_again": 0}
    assert {"name", "statistic", "threshold", "drifted"} == set(look["columns"][0])
    assert look["report"]
    assert (look["coverage"]["labelled"], look["coverage"]["share"]) == (150, 1.0)
    assert sum(window["labelled"] for window in look["windows"]) == 150
    assert look["estimate"]["metric"] == "rmse"
    assert look["estimate"]["low"] <= look["estimate"]["value"] <= look["estimate"]["high"] < 20  # the labels say 100
    assert {"name", "moved", "used", "tells", "importance"} == set(look["impact"]["columns"][0])
    assert look["retrain"]
    assert not again["retrain"]
    assert "cooldown" in again["retrain_reason"]


def test_each_look_has_a_page_that_prefect_mlflow_and_the_service_show(looks, service, home, trained, treadle):
    """What was decided, and why, is on it in the same words as in the command's answer."""
    _, look, again = looks
    page = Path(again["page"])
    assert page.read_text().count("<h2>") >= 6
    assert again["retrain_reason"] in html.unescape(page.read_text())
    assert again["since"] == {"at": "2023-07-08T00:00:00+00:00", "looks": 2}
    shown = httpx.get(f"{service.rpartition('/v1/')[0]}/reports/orders/looks/{page.name}")
    assert shown.status_code == 200
    from treadle.models.tracking import client

    tags = client(Settings(home=home)).get_run(trained[1]["run_id"]).data.tags
    assert tags["treadle.look"].startswith("quality-loss at 2023-07-08 01:00 UTC: Mean ")
    assert tags["treadle.look.page"].endswith(f"/reports/orders/looks/{page.name}")
    files = client(Settings(home=home)).list_artifacts(trained[1]["run_id"])
    assert "last-look.html" in {file.path for file in files}
    with sqlite3.connect(home / ".treadle/prefect/prefect.db") as database:
        links = database.execute("SELECT data FROM artifact WHERE key = 'orders-look'").fetchall()
        said = database.execute(
            "SELECT message FROM log WHERE message LIKE 'orders, version 1: quality-loss%'"
        ).fetchall()
        turns = database.execute("SELECT message FROM log WHERE message LIKE 'orders: promoted%'").fetchall()
    assert len(links) == len(said) == 2
    assert any(page.name in link for (link,) in links)
    assert any(page.name in text and again["retrain_reason"] in text for (text,) in said)
    assert trained[1]["reason"] in turns[0][0]


def test_both_looks_are_one_alert_with_its_evidence(looks, treadle):
    _, look, again = looks
    assert look["alert"] == again["alert"] is not None
    (alert,) = [row for row in treadle("alerts", "list", "orders", "--all") if row["id"] == look["alert"]]
    assert (alert["kind"], alert["severity"], alert["times"]) == ("quality-loss", "critical", 2)
    assert alert["page"].endswith("/reports/orders/looks/20230708T010000.html")
    assert "there is no channel" in treadle("alerts", "test", code=2).lower()
    assert treadle("alerts", "ack", str(alert["id"]))["alert"] == alert["id"]


def test_a_train_that_cannot_run_is_an_alert_until_one_runs(treadle, home, table, retrained):
    """The project's table is away for a night."""
    source = home / "projects" / "orders" / "data" / table.name
    source.rename(source.with_suffix(".away"))
    try:
        treadle("train", "orders", code=2)
    finally:
        source.with_suffix(".away").rename(source)
    (alert,) = [row for row in treadle("alerts", "list") if row["kind"] == "train-failed"]
    assert "orders.csv" in alert["reason"]


def test_a_retrain_is_compared_with_the_champion_and_swapped_in(retrained, service):
    """The challenger that knows the new labels must win, on rows that neither has seen."""
    assert retrained["decision"] == "promoted", retrained["reason"]
    assert retrained["challenger"] < retrained["champion"]
    assert "that neither has learned from" in retrained["reason"]
    assert "On the frozen holdout" in retrained["reason"]
    for _ in range(100):
        if httpx.get(service).json()["version"] == retrained["version"] == 2:
            return
        time.sleep(0.1)
    pytest.fail("the service did not swap")


def test_rollback_and_promote_by_hand(treadle, retrained):
    assert aliases(treadle) == {2: ["champion"], 1: ["previous"]}
    treadle("rollback", "orders")
    assert aliases(treadle)[1] == ["champion"]
    treadle("promote", "orders", "2")
    assert aliases(treadle)[2] == ["champion"]


def test_a_project_that_lives_by_windows_replaces_a_champion_that_is_as_good(treadle, table, home):
    """The same rows once more: nobody is better, and the duel of the platform's own policy would keep the champion."""
    treadle("init", "weekly", "--from", str(table), "--target", "hours")
    with (home / "projects" / "weekly" / "project.yaml").open("a") as file:
        file.write("\nretrain: {policy: every-window, every: 1w}\n")
    assert treadle("train", "weekly", "--trials", "1")["decision"] == "promoted"
    again = treadle("train", "weekly", "--trials", "1")
    assert (again["version"], again["decision"]) == (2, "promoted")
    assert again["reason"].startswith("Fewer than 30 new labelled rows have come since the champion's")
    assert "does not pass. Promoted all the same: nothing shows that it is worse" in again["reason"]


def test_batch_scoring_gives_one_row_a_row(treadle, table, home, trained):
    out = home / "answers.csv"
    odd = home / "odd.csv"
    pd.read_csv(table).assign(value=lambda rows: rows["value"].mask(rows.index == 3, "a lot")).to_csv(odd, index=False)
    said = treadle("predict", "orders", str(odd), "--to", str(out))
    answers = pd.read_csv(out)
    assert said["rows"] == len(answers) == 500
    assert said["cells_not_read"] == {"value": 1}
    assert answers["prediction"].notna().all()


def test_mlflow_has_the_run_its_trials_and_its_model(home, trained):
    from treadle.models.tracking import client

    mlflow = client(Settings(home=home))
    run = mlflow.get_run(trained[1]["run_id"])
    assert run.info.status == "FINISHED"
    assert {"data_digest", "project_digest", "git_commit", "seed", "family"} <= set(run.data.tags)
    assert {"rmse", "baseline_rmse", "parity", "holdout_rmse"} <= set(run.data.metrics)
    trials = mlflow.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert len(trials) == 3
    assert run.inputs.dataset_inputs[0].dataset.name == "orders"
    paths = {artifact.path for artifact in mlflow.list_artifacts(run.info.run_id)}
    assert {"model-card.md", "plots"} <= paths


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("train", "order"), "Did you mean 'orders'"),
        (("train", "../etc"), "lower-case"),
        (("init", "x", "--from", "nothing.csv", "--target", "y"), "No file"),
        (("watch", "nobody"), "No project"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(treadle, trained, words, why):
    assert why in treadle(*words, code=2)


def test_bad_tables_leave_no_project_behind(treadle, trained, home, tmp_path):
    cases = {
        "empty.csv": (b"", "empty"),
        "header.csv": (b"a,b\n", "no rows"),
        "picture.csv": (b"\x89PNG\r\n\x1a\n\x00\x00", "not"),
        "latin.csv": ("a,y\n" + "caf\xe9,1\n" * 60).encode("latin-1"),
    }
    for name, case in cases.items():
        content, why = case if isinstance(case, tuple) else (case, "UTF-8")
        (tmp_path / name).write_bytes(content)
        line = treadle("init", "bad", "--from", str(tmp_path / name), "--target", "y", code=2)
        assert why in line, line
        assert not (home / "projects" / "bad").exists()
    (tmp_path / "constant.csv").write_text("a,y\n" + "".join(f"{i},1\n" for i in range(60)))
    assert "nothing to learn" in treadle(
        "init", "bad", "--from", str(tmp_path / "constant.csv"), "--target", "y", code=2
    )
