"""The platform with its real processes, on free ports, in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta

import psutil
import pytest

from console import doctor, supervision
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.enable_socket, pytest.mark.timeout(300), pytest.mark.xdist_group("platform")]

PROJECT = """
name: shop
problem: tabular-classification
data: {source: data/shop.csv, target: churned}
watch: {every: 2h}
"""
TICKING = """
import time
from prefect import flow, task

@task
def tock():
    pass

@flow(name="ticking")
def tick(seconds: int = 300):
    tock()
    time.sleep(seconds)
"""


def treadle(home, *words, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "console.cli", *words],
        env=dict(os.environ) | {"TREADLE_HOME": str(home), "PYTHONPATH": _path(home)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def _path(home):
    """Where the worker of this test finds modules: the home, besides what the environment says already."""
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(home)]))


def ask(settings, path, body=None):
    """What Prefect says; it answers 503 while its database is locked, and asks its clients to come again."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{settings.prefect_url}/api/{path}", data, {"content-type": "application/json"})
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(0.5)
    raise AssertionError("Prefect's database stays locked")


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s")


def runs_planned(settings):
    return ask(settings, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})


def states(home):
    return {row["name"]: row for row in json.loads(treadle(home, "status", "--json").stdout)}


def of_this_home(home, having=supervision.MARK):
    """Processes below this home's supervisor, by its mark in their environment; those that have one more variable."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get(supervision.MARK) == str(home) and having in environment:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT)
    (tmp_path / "ticking.py").write_text(TICKING)
    yield tmp_path
    treadle(tmp_path, "down", check=False)


def test_up_serves_restarts_and_goes_down_without_a_trace(home, monkeypatch):
    rows = json.loads(treadle(home, "up", "--detach", "--auto-ports", "--json").stdout)
    assert {row["state"] for row in rows} == {"running"}
    settings = Settings(home=home)

    names = {(found["name"], found["entrypoint"]) for found in ask(settings, "deployments/filter", {})}
    flows = {("shop", f"flows.{flow}.{flow}") for flow in ("train", "watch", "score", "replay", "promote")}
    assert names == flows | {("ready", "flows.ready.ready"), ("ready", "flows.watch_ready.watch_ready")}
    schedules = [s for found in ask(settings, "deployments/filter", {}) for s in found["schedules"]]
    assert {s["schedule"].get("cron") or s["schedule"]["interval"] for s in schedules} == {"0 3 * * *", 7200.0, 3600.0}
    active = {s["schedule"].get("interval") for s in schedules if s["active"]}
    assert active == {3600.0}, (
        "only ready models are looked at: nothing is watched or retrained before there is a champion"
    )
    planned = wait_until(lambda: [run for run in runs_planned(settings) if run["auto_scheduled"]], 120)
    assert {run["flow_id"] for run in planned} == {ask(settings, "flows/name/watch-ready")["id"]}
    monkeypatch.setattr(doctor, "PLANNED_AFTER", timedelta(0))
    (found,) = [finding for finding in doctor.examine(settings) if finding["what"].startswith("schedules")]
    assert (found["state"], found["detail"]) == ("good", "1 on, and runs of each are planned")
    automations = {found["name"] for found in ask(settings, "automations/filter", {})}
    assert automations == {"treadle: retrain shop when asked", "treadle: a silent run has crashed"}

    again = treadle(home, "up", "--detach", check=False)
    assert again.returncode == 5
    assert "up already" in again.stderr

    os.kill(states(home)["api"]["pid"], signal.SIGKILL)
    back = wait_until(lambda: (row := states(home)["api"])["state"] == "running" and row["restarts"] == 1 and row, 120)
    assert back["restarts"] == 1

    assert json.loads(treadle(home, "down", "--json").stdout) == {"stopped": True, "ended": []}
    assert of_this_home(home) == []
    assert not (home / ".treadle" / "ports.json").exists()
    assert {row["state"] for row in states(home).values()} == {"down"}


def test_ctrl_c_in_the_foreground_stops_all_of_it(home):
    running = subprocess.Popen(
        [sys.executable, "-m", "console.cli", "up", "--auto-ports", "--json"],
        env=dict(os.environ) | {"TREADLE_HOME": str(home), "PYTHONPATH": _path(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    assert len(json.loads(running.stdout.readline())) == 4
    assert _pressed_until_it_ends(running) == 0
    assert of_this_home(home) == []


def _pressed_until_it_ends(running: subprocess.Popen[str]) -> int:
    """Ctrl-C, and once more if the first came in a moment in which the interpreter drops it."""
    running.send_signal(signal.SIGINT)
    try:
        return running.wait(timeout=100)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
        return running.wait(timeout=100)


def test_a_run_without_the_platform_is_kept_and_leaves_no_server(home):
    code = (
        "from pathlib import Path\n"
        "from console.platform import prefect_server, wait_for_server\n"
        "from treadle.settings import Settings\n"
        "with prefect_server(Settings()) as url:\n"
        "    from ticking import tick\n"
        "    wait_for_server(url)\n"
        "    tick(0)\n"
        "    import os; print(os.environ['PREFECT_API_URL'])\n"
    )
    environment = dict(os.environ) | {"TREADLE_HOME": str(home), "PYTHONPATH": _path(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(done.stdout.split()[-1] + "/health", timeout=2)
    again = code.replace("    tick(0)\n", "").replace(
        "    import os; print(os.environ['PREFECT_API_URL'])\n",
        "    from console.health import fetch\n"
        "    runs = [run for kind in ('flow', 'task') for run in fetch(f'{url}/api/{kind}_runs/filter', {})]\n"
        "    print([run['state_name'] for run in runs])\n",
    )
    kept = subprocess.run(
        [sys.executable, "-c", again], env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert kept.stdout.split("\n")[-2] == "['Completed', 'Completed']"


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_a_killed_run_is_seen_as_crashed(home):
    treadle(home, "up", "--detach", "--auto-ports")
    settings = Settings(home=home)
    flow_id = ask(settings, "flows/", {"name": "ticking"})["id"]
    deployment = ask(
        settings,
        "deployments/",
        {"name": "t", "flow_id": flow_id, "entrypoint": "ticking.tick", "work_pool_name": "treadle"},
    )["id"]
    run = ask(settings, f"deployments/{deployment}/create_flow_run", {})["id"]
    state = lambda: ask(settings, f"flow_runs/{run}")["state_type"]  # noqa: E731
    wait_until(lambda: state() == "RUNNING", 120)
    # silence is told from the first heartbeat on: a run that was killed before it would stay as it is
    beats = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    wait_until(lambda: ask(settings, "events/filter", {"filter": beats})["events"], 60)
    worker = psutil.Process(states(home)["worker"]["pid"])
    for process in [worker, *of_this_home(home, having="PREFECT__FLOW_RUN_ID")]:
        process.kill()
    wait_until(lambda: state() == "CRASHED", 180)
