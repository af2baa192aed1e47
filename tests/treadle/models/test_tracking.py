"""What the MLflow UI shows of a turn, and that its store is made once however many come first."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from treadle.models.tracking import (
    client,
    log_dataset,
    log_metrics,
    log_params,
    log_trials,
    open_run,
    run_url,
    set_tags,
)
from treadle.project import Project

PROJECT = Project.model_validate(
    {"name": "toy", "problem": "tabular-regression", "data": {"source": "toy.csv", "target": "amount", "time": "when"}}
)


@dataclass(frozen=True)
class Trial:
    number: int
    score: float | None
    state: str
    family: str = "linear"
    seconds: float = 0.1
    params: dict[str, Any] = field(default_factory=lambda: {"strength": 1.0})


def test_a_run_says_what_it_is(settings):
    with open_run(settings, PROJECT, name="drift 2011-04-01", tags={"reason": "drift"}) as run_id:
        set_tags(settings, run_id, {"family": "linear", "seed": "0"})
    run = client(settings).get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("drift 2011-04-01", "FINISHED")
    wanted = {"kind": "train", "project": "toy", "problem": "tabular-regression", "reason": "drift", "family": "linear"}
    assert wanted.items() <= run.data.tags.items()
    assert run.info.artifact_uri.startswith((settings.mlruns_dir / "artifacts" / "toy").as_uri())
    assert run_url(settings, "toy", run_id).endswith(f"/runs/{run_id}")


def test_a_failed_run_is_failed_in_mlflow(settings):
    with pytest.raises(ZeroDivisionError), open_run(settings, PROJECT, name="test", tags={"reason": "x"}) as run_id:
        raise ZeroDivisionError
    run = client(settings).get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["reason"] == "x"


def test_trials_become_nested_runs(settings):
    trials = [Trial(0, 1.5, "complete"), Trial(1, None, "failed"), Trial(2, 1.7, "pruned")]
    with open_run(settings, PROJECT, name="test", tags={}) as run_id:
        log_trials(settings, run_id, "toy", trials, "mae")
    mlflow = client(settings)
    experiment = mlflow.get_experiment_by_name("toy").experiment_id
    runs = mlflow.search_runs([experiment], "tags.kind = 'trial' AND tags.family = 'linear'")
    assert {(r.info.run_name, r.info.status, r.data.metrics.get("mae"), r.data.tags["state"]) for r in runs} == {
        ("trial 0: linear", "FINISHED", 1.5, "complete"),
        ("trial 1: linear", "FAILED", None, "failed"),
        ("trial 2: linear", "KILLED", 1.7, "pruned"),
    }
    assert {r.data.tags["mlflow.parentRunId"] for r in runs} == {run_id}
    assert runs[0].data.params == {"family": "linear", "strength": "1.0"}


def test_more_than_one_call_of_mlflow_takes(settings):
    """MLflow refuses more than 100 params a call, and a parameter longer than 6,000 characters."""
    params = {f"p{i:03}": i for i in range(250)} | {"long": "x" * 10_000}
    metrics = {f"m{i:03}": float(i) for i in range(250)} | {"unknown": float("nan")}
    with open_run(settings, PROJECT, name="test", tags={}) as run_id:
        log_params(settings, run_id, params)
        log_metrics(settings, run_id, metrics)
    data = client(settings).get_run(run_id).data
    assert (len(data.params), data.params["p249"], len(data.params["long"])) == (251, "249", 6000)
    assert (len(data.metrics), data.metrics["m249"]) == (250, 249.0)


def test_a_dataset_has_our_digest(settings, toy):
    schema, frame = toy("tabular-regression")
    with open_run(settings, PROJECT, name="test", tags={}) as run_id:
        log_dataset(
            settings, run_id, frame, name="toy", source="toy.csv", target=schema.target, digest="ab" * 32
        )  # fmt: skip
    (entry,) = client(settings).get_run(run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("toy", ("ab" * 32)[:36])


FIRST = """
import sys
from pathlib import Path
from treadle.settings import Settings
from treadle.models.tracking import experiment_id
experiment = experiment_id(Settings(home=Path(sys.argv[1])), "toy")
print("made", experiment, file=sys.stderr)
"""


def test_the_first_use_by_many_at_once_makes_one_store_and_prints_nothing(tmp_path):
    firsts = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [first.communicate(timeout=100) for first in firsts]
    assert [first.returncode for first in firsts] == [0] * 4, said
    assert {out for out, _ in said} == {""}, "standard output is for --json alone"
    assert len({err.strip().splitlines()[-1] for _, err in said}) == 1
