"""A search: what is tried, what wins, and how it ends."""

from dataclasses import replace

import pytest

from tests.treadle.learning.conftest import elsewhere, finished
from treadle.errors import BadData, NotFound, Unavailable
from treadle.learning.search import Start, search


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
