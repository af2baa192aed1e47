"""The processes of a search: shared, killed, interrupted, and gone on with."""

import os
import signal
import textwrap
from dataclasses import replace

import pytest

from tests.treadle.learning.conftest import elsewhere, finished, finished_count, is_alive, start, wait_for
from treadle.errors import Unavailable
from treadle.learning.search import search


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
