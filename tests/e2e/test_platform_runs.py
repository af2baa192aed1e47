"""With the platform up: a person approves a challenger in Prefect, and a worker that dies in a train loses nothing."""

import os
import signal
import time
from functools import partial

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest

from tests import commands
from treadle import Client
from treadle.ledger import Ledger, ReadyCalls
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("platform")]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("platform")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "kind": rng.choice(["a", "b"], 400)})
    frame["y"] = 3 * frame["x"] + 2 * (frame["kind"] == "a") + rng.normal(0, 0.2, 400)
    frame.to_csv(folder / "toy.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def treadle(home):
    return partial(commands.treadle, home, TREADLE_RETRAIN_LEASE_S="10")


@pytest.fixture(scope="module")
def platform(home, treadle):
    treadle("init", "toy", "--from", str(home / "toy.csv"), "--target", "y")
    path = home / "projects/toy/project.yaml"
    path.write_text(
        path.read_text() + "promote: {approval: human}\nwatch: {every: 2m}\ntune: {trials: 3, minutes: 1, workers: 1}\n"
    )
    treadle("up", "--detach", "--auto-ports")
    yield Settings(home=home)
    treadle("down")


def prefect(settings, path, body):
    return httpx.post(f"{settings.prefect_url}/api/{path}", json=body, timeout=30).raise_for_status().json()


def wait_for(what, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(1)
    pytest.fail(f"nothing within {seconds} s")


def runs_of(settings, flow, *states):
    runs = prefect(settings, "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"})
    return [run for run in runs if run["state_name"] in states or run["state_type"] in states]


def test_a_challenger_waits_for_a_person_and_holds_nothing(platform, treadle):
    summary = treadle("train", "toy", "--deployed")
    assert summary["decision"] == "pending-approval", summary
    ledger = Ledger.open(platform)
    assert not ledger.in_flight("toy")
    (waiting,) = wait_for(lambda: runs_of(platform, "promote", "Suspended"))
    answer = {"run_input": {"approve": True, "comment": "looks right"}}
    prefect(platform, f"flow_runs/{waiting['id']}/resume", answer)
    champion = wait_for(lambda: ledger.champion("toy"))
    assert champion.version == summary["version"]
    wait_for(lambda: [d for d in ledger.last_decisions("toy") if "looks right" in d.reason])
    wait_for(lambda: httpx.get(f"{platform.api_url}/v1/models/toy").status_code == 200)


def test_the_clock_watches_what_a_person_has_promoted(platform):
    """Nobody starts this run: the schedule was off until there was a champion, and is on since."""
    (watched, *_) = wait_for(lambda: runs_of(platform, "watch", "COMPLETED"), 400)
    assert watched["auto_scheduled"]
    assert Ledger.open(platform).last_verdicts("toy")


def test_a_worker_killed_in_a_train_is_seen_and_the_next_train_goes_on(platform, treadle):
    """Whether or not there is a champion by now."""
    before = len(runs_of(platform, "train", "COMPLETED"))
    deployment = prefect(platform, "deployments/filter", {"flows": {"name": {"any_": ["train"]}}})[0]
    run = prefect(platform, f"deployments/{deployment['id']}/create_flow_run", {"parameters": {"project": "toy"}})
    wait_for(lambda: Ledger.open(platform).in_flight("toy"))
    mark = str(platform.home)
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = " ".join(process.info["cmdline"] or [])
        if mark in str((process.info["environ"] or {}).get("TREADLE_HOME")) and (
            "flow_engine" in command or "worker" in command
        ):
            os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not Ledger.open(platform).in_flight("toy"), 60)
    wait_for(lambda: any(r["id"] == run["id"] for r in runs_of(platform, "train", "CRASHED")))
    wait_for(lambda: all(row["state"] == "running" for row in treadle("status") if row["name"] == "worker"))
    summary = treadle("train", "toy", "--deployed")
    assert summary["decision"] in ("kept", "rejected", "pending-approval")
    assert len(runs_of(platform, "train", "COMPLETED")) == before + 1


def test_a_job_of_a_ready_model_runs_in_prefect_and_is_seen_there(platform):
    """Through our own client, which asks and waits; its cost is in the ledger."""
    client = Client(platform.api_url)
    texts = ["Der Zug nach Wien fährt um neun Uhr.", " ", "Le train pour Vienne part à neuf heures."]
    job = client.start_job("detect-language", texts, top_k=1)
    first, second, third = client.wait(job, timeout_s=240)
    assert (first["answer"]["language"], third["answer"]["language"]) == ("de", "fr")
    assert "no text" in second["error"]
    (run,) = runs_of(platform, "ready", "COMPLETED")
    assert run["name"] == f"job {job}"
    calls = ReadyCalls(Ledger.open(platform)).newest("detect-language")
    assert [(call.id, call.client, call.inputs) for call in calls] == [(job, "job", 1)] * 2
    progress = prefect(platform, "artifacts/filter", {"artifacts": {"key": {"any_": ["ready-detect-language"]}}})
    assert [artifact["data"] for artifact in progress] == [100.0]


def test_calls_that_became_others_are_seen_by_the_deployed_look_and_told(platform):
    """Long Russian reviews after short English ones."""
    client, rng = Client(platform.api_url), np.random.default_rng(0)
    words, lengths = rng.choice(["Good", "Bad", "Fine"], 320), rng.integers(0, 9, 320)
    short = [f"{word}, {'very ' * int(length)}nice!" for word, length in zip(words, lengths, strict=True)]
    long = [f"Мы были очень довольны этой поездкой {number} раз. " * 6 for number in range(110)]
    for text in short + long:
        client.ready("analyze-sentiment", text, model="vader")
    (deployment,) = prefect(platform, "deployments/filter", {"flows": {"name": {"any_": ["watch-ready"]}}})
    asked = {"parameters": {"capability": "analyze-sentiment"}}
    run = prefect(platform, f"deployments/{deployment['id']}/create_flow_run", asked)
    wait_for(lambda: [one for one in runs_of(platform, "watch-ready", "COMPLETED") if one["id"] == run["id"]])
    calls = ReadyCalls(Ledger.open(platform))
    (vader,) = calls.asked("analyze-sentiment")
    (look,) = calls.looks(vader, 10)
    assert (look.verdict, look.rows, look.calls) == ("drift", 130, 430), look
    assert "characters" in look.figures["moved"]
    (alert,) = httpx.get(f"{platform.api_url}/v1/models/ready:analyze-sentiment:vader/alerts").raise_for_status().json()
    assert (alert["kind"], alert["severity"]) == ("drift", "warning")
    (shown,) = prefect(platform, "artifacts/filter", {"artifacts": {"key": {"any_": ["ready-verdicts"]}}})
    assert shown["data"].startswith(
        "- **drift** analyze-sentiment, vader: The newest 130 calls are unlike the first 300"
    )
