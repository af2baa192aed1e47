import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData, NotFound, Unavailable
from treadle.learning import study as studies
from treadle.learning.search import SearchSpec, Start, search
from treadle.project import read_project
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


def test_starts_come_first_then_defaults_and_the_best_wins(spec):
    result = search(replace(spec, start=(Start("other", {"slope": 1.9, "kind": "gone", "steps": 9, "extra": 7}),)))
    assert [t.number for t in result.trials] == list(range(8))
    first, second, third = result.trials[:3]
    assert (first.family, first.params) == ("other", {"slope": 1.9, "kind": "gone", "steps": 10, "extra": 7})
    assert {second.family: second.params, third.family: third.params} == {
        "toy": {"slope": 0.5, "kind": "plain", "steps": 10},
        "other": {"slope": 3.0, "kind": "fancy", "steps": 10},
    }
    assert result.score == min(t.score for t in result.trials if t.state == "complete")
    assert result.score <= first.score
    assert result.params == result.best.params | {"steps": 9}
    assert (result.reused, result.resumed, result.stopped_by, result.lost) == (False, False, "trials", ())
    assert result.done + result.pruned == 8
    assert "rmse" in result.said


def test_a_trial_is_recorded_with_its_times_and_its_curve(spec):
    trial = search(replace(spec, trials=1)).trials[0]
    assert [step for step, _ in trial.curve] == list(range(10))
    assert trial.curve[-1][1] == pytest.approx(trial.score)
    assert trial.ended is not None
    assert trial.ended >= trial.started
    assert trial.started.tzinfo is not None
    assert trial.seconds > 0


def test_an_identical_search_with_one_worker_gives_identical_trials(spec):
    spec = replace(spec, trials=14)
    one, two = search(elsewhere(spec, "one")), search(elsewhere(spec, "two"))
    assert finished(one) == finished(two)
    assert finished(search(elsewhere(replace(spec, seed=1), "three"))) != finished(one)


def test_a_finished_search_returns_at_once_and_more_trials_go_on(spec):
    first = search(spec)
    again = search(spec)
    assert again.reused
    assert finished(again) == finished(first)
    more = search(replace(spec, trials=10))
    assert more.resumed
    assert not more.reused
    assert finished(more)[:8] == finished(first)
    assert len(finished(more)) == 10


def test_a_family_is_pruned_against_its_own_median_only(spec):
    result = search(replace(spec, trials=40, families=("toy",)))
    assert result.pruned > 0
    complete = [t for t in result.trials if t.state == "complete"]
    for trial in (t for t in result.trials if t.state == "pruned"):
        assert trial.curve[-1][0] >= 3
        assert trial.score > min(t.score for t in complete)
        assert "median" in trial.reason


def test_minutes_end_a_search_and_a_rerun_knows(spec, monkeypatch):
    monkeypatch.setenv("TOY_STEP_S", "0.02")
    result = search(replace(spec, trials=500, minutes=0.02))
    assert result.stopped_by == "minutes"
    assert 1 <= result.done + result.pruned < 30
    again = search(replace(spec, trials=500, minutes=0.02))
    assert again.reused
    assert len(again.trials) == len(result.trials)


def test_a_first_trial_longer_than_the_minutes_is_finished(spec, monkeypatch):
    monkeypatch.setenv("TOY_STEP_S", "0.05")
    result = search(replace(spec, minutes=0.001))
    assert result.done == 1
    assert result.family in ("toy", "other")


def test_a_family_that_raises_costs_its_own_trials_only(spec, monkeypatch):
    monkeypatch.setenv("OTHER_RAISES", "1")
    result = search(replace(spec, trials=5))
    assert result.failed >= 1
    assert result.family == "toy"
    assert {t.reason for t in result.trials if t.state == "failed"} == {"ValueError: other cannot"}


@pytest.mark.parametrize("workers", [1, 2])
def test_when_every_trial_fails_the_first_reason_is_raised_and_a_rerun_begins_anew(spec, monkeypatch, workers):
    monkeypatch.setenv("TOY_RAISES", "slope\nis steep")
    with pytest.raises(BadData, match="toys failed; the first: ValueError: slope is steep"):
        search(replace(spec, trials=3, workers=workers))
    monkeypatch.delenv("TOY_RAISES")
    assert search(replace(spec, trials=3)).done == 3


def test_names_that_are_not_there(spec):
    with pytest.raises(NotFound, match="toi"):
        search(replace(spec, families=("toi",)))
    with pytest.raises(NotFound):
        search(replace(spec, problem="tabular-regresion"))


def test_a_folder_that_cannot_be_written_is_one_clear_error(spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="finished trials are kept"):
        search(replace(spec, folder=str(tmp_path / "file" / "study")))


def test_an_interrupt_keeps_the_study_and_a_rerun_goes_on(spec):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(spec, interrupt)
    result = search(spec)
    assert result.resumed
    assert finished(result) == finished(search(elsewhere(spec, "whole")))


def test_a_search_killed_in_the_middle_resumes_to_the_same_trials(spec, monkeypatch):
    whole = search(elsewhere(spec, "whole"))
    monkeypatch.setenv("TOY_STEP_S", "0.02")
    process = start(spec)
    wait_for(lambda: finished_count(spec) >= 3)
    process.kill()
    process.communicate()
    done = finished_count(spec)
    assert 3 <= done < 8
    monkeypatch.delenv("TOY_STEP_S")
    result = search(spec)
    assert result.resumed
    assert finished(result) == finished(whole)
    assert sum(t.state == "stale" for t in result.trials) <= 1
    assert not any(t.state == "running" for t in result.trials)


def test_two_processes_share_a_search(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path))
    monkeypatch.setenv("TOY_STEP_S", "0.03")
    seen = []
    result = search(replace(spec, workers=2, trials=10), seen.append)
    assert len(finished(result)) == 10
    assert len(list(tmp_path.glob("*.pid"))) == 2
    assert not (tmp_path / f"{os.getpid()}.pid").exists()
    assert seen[-1].finished == 10
    assert seen[-1].share == 1
    assert seen[-1].best == result.score


def test_a_killed_worker_is_told_of_and_the_other_goes_on(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path))
    monkeypatch.setenv("TOY_STEP_S", "0.05")
    spec = replace(spec, workers=2, trials=6)
    killed = []

    def kill_one(progress):
        pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
        if not killed and len(pids) == 2 and progress.finished < 4:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

    result = search(spec, kill_one)
    assert killed
    assert len(finished(result)) == 6
    assert len(result.lost) == 1
    assert "SIGKILL" in result.lost[0]
    assert [t.state for t in result.trials].count("stale") == 1


def test_when_all_workers_are_killed_a_rerun_goes_on(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path))
    monkeypatch.setenv("TOY_STEP_S", "0.05")
    spec = replace(spec, workers=2, trials=8)

    def kill_all(progress):
        for path in tmp_path.glob("*.pid"):
            os.kill(int(path.stem), signal.SIGKILL)

    with pytest.raises(Unavailable, match=r"SIGKILL.*finished trials are kept"):
        search(spec, kill_all)
    monkeypatch.delenv("TOY_STEP_S")
    assert len(finished(search(replace(spec, workers=1)))) == 8


def test_workers_end_with_a_parent_that_is_killed(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path))
    monkeypatch.setenv("TOY_STEP_S", "0.2")
    spec = replace(spec, workers=2, trials=6)
    process = start(spec)
    pids = wait_for(lambda: p if len(p := [int(path.stem) for path in tmp_path.glob("*.pid")]) == 2 else None)
    assert all(is_alive(pid) for pid in pids)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), seconds=10)
    monkeypatch.setenv("TOY_STEP_S", "0")
    result = search(replace(spec, workers=1))
    assert len(finished(result)) == 6
    assert [t.state for t in result.trials].count("stale") == 2


def test_a_start_that_kills_its_process_is_tried_twice_and_then_let_alone(spec):
    code = textwrap.dedent("""
        import os, signal
        from treadle.learning import study
        claim = study.claim
        def deadly(seat):
            trial = claim(seat)
            os.kill(os.getpid(), signal.SIGKILL)
        study.claim = deadly
        search(SearchSpec.load(Path(sys.argv[1])))
    """)
    for _ in range(2):
        process = start(spec, code=code)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    result = search(spec)
    stale = [t for t in result.trials if t.state == "stale"]
    assert len(stale) == 2
    assert len(finished(result)) == 8


def test_a_torn_line_of_the_journal_is_cut_off(spec):
    first = search(replace(spec, trials=3))
    with (Path(spec.folder) / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"x","stu')
    more = search(replace(spec, trials=5))
    assert finished(more)[:3] == finished(first)
    assert len(finished(more)) == 5


def test_a_lock_is_released_by_the_death_of_its_owner(tmp_path):
    code = "import sys, time\nfrom pathlib import Path\nfrom treadle.learning.study import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()
    with studies.locked(tmp_path / "lock"):
        pass


def test_a_presence_ends_when_it_leaves(tmp_path):
    presence = studies.Presence(tmp_path)
    assert studies.is_present(tmp_path, presence.name)
    presence.leave()
    assert not studies.is_present(tmp_path, presence.name)
    assert not studies.is_present(tmp_path, "nobody")


def test_a_spec_of_a_project_names_its_study_by_what_it_holds(spec, tmp_path):
    folder = tmp_path / "projects" / "toys"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "{name: toys, problem: tabular-regression, data: {source: x.csv, target: y}, train: {families: [toy]}}"
    )
    project, settings = read_project(folder / "project.yaml"), Settings(home=tmp_path)
    paths = {"snapshot": spec.snapshot, "schema": spec.schema, "split": spec.split}
    made = SearchSpec.of(project, settings, **paths, start=[{"family": "toy", "params": {"slope": np.float64(2)}}])
    assert made.start == (Start("toy", {"slope": 2.0}),)
    assert (made.metric, made.trials, made.workers, made.families) == ("rmse", 30, 2, ("toy",))
    few = SearchSpec.of(project, settings, **paths, trials=3)
    assert (few.workers, few.folder) == (1, made.folder)
    made.save(tmp_path / "spec.json")
    assert SearchSpec.load(tmp_path / "spec.json") == made
    Path(spec.split).write_text(json.dumps({"train": ["t:1"], "valid": ["t:2"]}))
    assert SearchSpec.of(project, settings, **paths).folder != made.folder
