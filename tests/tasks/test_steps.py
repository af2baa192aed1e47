"""A step is noted when it is promoted, and steps that labels show to be much worse than their base are undone."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tasks.probation import settle_swap
from tasks.steps import note_step, served_since_base, settle_steps
from tests.tasks.test_probation import DAYS, SWAP, live
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.retraining.steps import KIND, begun, followed_of
from treadle.retraining.turn import Turn
from treadle.tables.schema import Schema

SPLIT = {"train": ["a"] * 90, "valid": ["b"] * 5, "test": [], "holdout": ["c"] * 20, "left_out": ["d"] * 5}


@pytest.fixture
def project(installation):
    settings, _ = installation
    found = load_project("toy", settings)
    return found.model_copy(update={"retrain": found.retrain.model_copy(update={"follow": 0.1})})


@pytest.fixture
def turn(installation, monkeypatch):
    """Makes a turn that has split its rows."""
    settings, _ = installation
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))

    def make(reason, *, is_step=False, **split):
        made = Turn("toy", "run", SWAP.isoformat(), reason, 1, is_step)
        made.write("split.json", SPLIT | split)
        return made

    return make


@pytest.fixture
def better(ledger):
    """Version 3 is version 1 once more, to be a step from version 2, which is worse."""
    ledger.add_version(replace(ledger.version("toy", 1), version=3))
    return 3


def follow(ledger, base, step):
    """Version `base` won a duel, `step` is a step from it."""
    ledger.promote("toy", base, None, reason="first", at=SWAP - timedelta(days=30))
    ledger.promote("toy", step, base, verdict=KIND, reason="a step", at=SWAP)
    state = begun(base, 100).step(step, 110)
    ledger.record_decision("toy", KIND, "A step.", dict(state.figures()), SWAP)
    return state


def test_a_won_duel_on_a_loss_begins_it_and_each_step_goes_on_from_there(project, ledger, turn):
    ledger.promote("toy", 1, None, reason="first")
    note_step(turn("quality-loss"), project, ledger, 1, None)
    assert followed_of(ledger, project, 1) == begun(1, 100)
    ledger.promote("toy", 2, 1, reason="a step")
    note_step(turn("stream-moves", is_step=True, train=["a"] * 100), project, ledger, 2, 1)
    assert followed_of(ledger, project, 2) == begun(1, 100).step(2, 110)


@pytest.mark.parametrize(("reason", "holdout"), [("drift", 20), ("nightly", 20), ("by hand", 20), ("quality-loss", 0)])
def test_nothing_else_begins_it(project, ledger, turn, reason, holdout):
    ledger.promote("toy", 1, None, reason="first")
    note_step(turn(reason, holdout=["c"] * holdout), project, ledger, 1, None)
    assert followed_of(ledger, project, 1) is None


def test_the_next_step_is_granted_once_the_rows_have_grown(installation, project, ledger, better):
    follow(ledger, 2, better)
    live(installation, ledger, 1, days=2, as_version=better)
    governor = Governor(
        ledger, project.model_copy(update={"retrain": project.retrain.model_copy(update={"min_new_labels": 1})})
    )
    early = governor.weigh("ok", "nothing moved.", SWAP + timedelta(days=1, hours=10))
    assert not early.decision.retrain
    assert "the next refit comes with 11 new labelled rows (10 so far)" in early.decision.reason
    due = governor.weigh("ok", "nothing moved.", SWAP + timedelta(days=1, hours=11))
    assert due.decision.retrain
    assert governor.last(1)[0].verdict == "stream-moves"


def test_steps_that_are_much_worse_are_undone_and_nothing_is_followed_any_more(installation, project, ledger):
    settings, _ = installation
    follow(ledger, 1, 2)
    live(installation, ledger, 2)
    settle_steps(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert ledger.champion("toy").version == 1
    assert ledger.last_promotion("toy").verdict == "rollback"
    assert [d.kind for d in ledger.last_decisions("toy", 2)] == [KIND, "rolled-back"]
    assert followed_of(ledger, project, 1) is None
    assert Governor(ledger, project).standing().turned_down == 1


def test_steps_that_are_better_stay_and_are_on_no_probation_of_their_own(installation, project, ledger, better):
    settings, _ = installation
    state = follow(ledger, 2, better)
    live(installation, ledger, 1, as_version=better)
    settle_steps(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert ledger.champion("toy").version == better
    assert followed_of(ledger, project, better) == state
    assert settle_swap(settings, project, SWAP + timedelta(days=DAYS + 2)) is None


def test_once_enough_has_come_they_are_the_new_base(installation, project, ledger, better):
    settings, _ = installation
    follow(ledger, 2, better)
    state = begun(2, 100).step(better, 125)
    ledger.record_decision("toy", KIND, "A step.", dict(state.figures()), SWAP)
    live(installation, ledger, 1, as_version=better)
    settle_steps(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert followed_of(ledger, project, better) == begun(better, 125)
    assert "following the stream pays" in ledger.last_decisions("toy", 1)[0].reason


def test_what_was_served_is_normal_for_the_next_step(installation, project, ledger, better, monkeypatch):
    settings, _ = installation
    follow(ledger, 2, better)
    live(installation, ledger, 1, days=3, as_version=better)
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    late = Turn("toy", "run", (SWAP + timedelta(days=3)).isoformat(), "stream-moves", 1, True)
    frame, answers = served_since_base(late, project, Schema.load(project.folder / "schema.json"))
    rows = ledger.labelled("toy", until=late.moment)
    assert len(frame) == len(answers) == len(rows) == 48
    assert json.dumps(answers.tolist()) == json.dumps([row.answer["prediction"] for row in rows])
