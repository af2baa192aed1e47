"""With the platform up: a storm of triggers is one train run, and of two runs for one slot one does its work."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pytest

from tests.answered import answered
from tests.commands import platform_of_toy
from tests.faults.scheduler import BEGAN
from treadle.ledger import Feedback, Ledger
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.settings import CHECKOUT, Settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("platform")]

RULES = """watch: {every: 52w}
tune: {trials: 2, minutes: 1, workers: 1, retrain_trials: 1}
retrain: {cooldown: 6h, min_new_labels: 10}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("storm")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "kind": rng.choice(["a", "b"], 400)})
    frame["y"] = 3 * frame["x"] + 2 * (frame["kind"] == "a") + rng.normal(0, 0.2, 400)
    frame.to_csv(folder / "toy.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def platform(home):
    with platform_of_toy(home, RULES):
        yield Settings(home=home)


def ask(settings, path, body):
    return httpx.post(f"{settings.prefect_url}/api/{path}", json=body, timeout=30).raise_for_status().json()


def ended(settings, flow, begun=1, seconds=300):
    """The flow's runs, when at least so many have come and all have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        runs = ask(settings, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"})
        runs = [run for run in runs if run["deployment_id"] and "by hand" not in run["name"]]
        runs = [run for run in runs if run["state_name"] != "Scheduled" or run["auto_scheduled"] is False]
        if len(runs) >= begun and all(run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") for run in runs):
            return runs
        time.sleep(1)
    pytest.fail(f"the runs of {flow} did not end within {seconds} s: {runs}")


def look(settings, numbers, kill_after=None):
    """Look by a scheduler of its own; it is killed after so many answers."""
    command = [sys.executable, "-m", "tests.faults.scheduler", "toy", *map(str, numbers)]
    with subprocess.Popen(command, env=settings.environment(), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as made:
        answers = 0
        for line in made.stdout:
            answers += line != "ready\n"
            if answers == kill_after:
                made.kill()
                break
    return answers


@pytest.fixture(scope="module")
def first(platform):
    """The train run of a storm: a hundred looks that say drift, by a scheduler that is killed in the middle and comes back."""
    ledger = Ledger.open(platform)
    rows = [
        answered(f"p{i}", "toy", 1, BEGAN, json.dumps({"x": i / 50, "kind": "a"}), json.dumps({"prediction": 1.0}))
        for i in range(60)
    ]
    ledger.add_entries(rows)
    ledger.add_feedback("toy", [Feedback(f"p{i}", 3 * i / 50 + 2, BEGAN - timedelta(hours=1)) for i in range(60)])
    assert look(platform, range(60), kill_after=30) == 30
    assert look(platform, range(30, 100)) == 70
    run, *_ = ended(platform, "train")
    return run


def test_a_storm_of_triggers_is_one_train_run(platform, first):
    """The real step, event, automation and deployment."""
    assert first["state_type"] == "COMPLETED"
    assert first["parameters"]["trigger"] == "1"
    governor = Governor(Ledger.open(platform), load_project("toy", platform))
    triggers = governor.last(999)
    assert [t.state for t in triggers if t.rule is None] == ["ended"]
    assert triggers[-1].run_id == first["id"]
    assert len(triggers) in (100, 101)
    assert all(t.reason for t in triggers)
    assert sum(governor.standing().suppressed.values()) == len(triggers) - 1


def test_an_event_that_is_said_twice_trains_once(platform, first):
    """The automation starts a second run for the same trigger, which ends at once and says why."""
    body = {"parameters": first["parameters"]}
    again = ask(platform, f"deployments/{first['deployment_id']}/create_flow_run", body)
    second = next(run for run in ended(platform, "train", begun=2) if run["id"] == again["id"])
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Skipped")
    assert f"run {first['id']} was for it" in second["state"]["message"]


def test_of_two_runs_for_one_slot_one_does_its_work(platform):
    """As two schedulers make them: the same deployment, the same moment, at once."""
    (deployment,) = ask(platform, "deployments/filter", {"flows": {"name": {"any_": ["watch"]}}})
    moment = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": moment}}
    body = {"state": state, "tags": ["auto-scheduled"], "parameters": {"project": "toy"}}
    both = {ask(platform, f"deployments/{deployment['id']}/create_flow_run", body)["id"] for _ in range(2)}
    runs = [run for run in ended(platform, "watch", begun=2) if run["id"] in both]
    assert sorted(run["state_name"] for run in runs) == ["Completed", "Skipped"]
    (skipped,) = [run for run in runs if run["state_name"] == "Skipped"]
    assert "is not needed: run" in skipped["state"]["message"]
