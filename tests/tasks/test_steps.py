"""A step is noted when it is promoted, and steps that labels show to be much worse than their base are undone."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from tasks import label, promote
from tasks.probation import settle_swap
from tasks.steps import followed_with, judge_followed, note_step, served_since_base
from tests.tasks.test_probation import DAYS, SWAP, live
from treadle.ledger.tables import feedback
from treadle.project import load_project
from treadle.promotion.duel import Duel
from treadle.promotion.gate import Gate
from treadle.retraining.governor import Governor
from treadle.retraining.steps import KIND, begun, followed_of
from treadle.retraining.turn import Registered, Rows, Turn
from treadle.tables.data import AT, ROW, SOURCE, load_snapshot, snapshot
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

    def make(reason, *, is_step=False, update_of=None, **split):
        made = Turn("toy", "run", SWAP.isoformat(), reason, 1, is_step)
        made.write("split.json", SPLIT | split)
        made.write("fit.json", {"update_of": update_of})
        Schema.load(settings.projects_dir / "toy" / "schema.json").save(made.path("schema.json"))
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
    state = begun(base, 100).step(step, 110)
    figures = {KIND: dict(state.figures())}
    ledger.promote("toy", step, base, verdict=KIND, reason="a step", figures=figures, at=SWAP)
    ledger.record_decision("toy", KIND, "A step.", dict(state.figures()), SWAP)
    return state


def swap(ledger, project, turn, version, before):
    """As the train flow does, up to the swap."""
    follows = followed_with(turn, project, followed_of(ledger, project, before), version)
    figures = {} if follows is None else {KIND: dict(follows.figures())}
    ledger.promote("toy", version, before, reason="it came", figures=figures)
    return follows


def test_a_won_duel_on_a_loss_begins_it_and_each_step_goes_on_from_there(project, ledger, turn):
    """Whether or not the train run lived to write it down."""
    made = turn("quality-loss")
    note_step(made, ledger, swap(ledger, project, made, 1, None))
    assert followed_of(ledger, project, 1) == begun(1, 100)
    swap(ledger, project, turn("stream-moves", is_step=True, train=["a"] * 100), 2, 1)
    assert followed_of(ledger, project, 2) == begun(1, 100).step(2, 110)


def test_another_champion_ends_it_even_where_the_step_comes_back(project, ledger, turn):
    swap(ledger, project, turn("quality-loss"), 1, None)
    swap(ledger, project, turn("stream-moves", is_step=True), 2, 1)
    ledger.rollback("toy")
    assert followed_of(ledger, project, 1) is None
    ledger.promote("toy", 2, 1, verdict="by-hand", reason="by hand")
    assert followed_of(ledger, project, 2) is None


@pytest.mark.parametrize(("reason", "holdout"), [("drift", 20), ("nightly", 20), ("by hand", 20), ("quality-loss", 0)])
def test_nothing_else_begins_it(project, ledger, turn, reason, holdout):
    assert swap(ledger, project, turn(reason, holdout=["c"] * holdout), 1, None) is None
    assert followed_of(ledger, project, 1) is None


def test_the_next_step_is_granted_once_the_rows_have_grown(installation, project, ledger, better):
    follow(ledger, 2, better)
    live(installation, ledger, 1, days=2, as_version=better)
    governor = Governor(
        ledger, project.model_copy(update={"retrain": project.retrain.model_copy(update={"min_new_labels": 1})})
    )
    early = governor.weigh("ok", "nothing moved.", SWAP + timedelta(days=1, hours=10))
    assert not early.decision.retrain
    assert "the next step comes with 11 new labelled rows (10 so far)" in early.decision.reason
    due = governor.weigh("ok", "nothing moved.", SWAP + timedelta(days=1, hours=11))
    assert due.decision.retrain
    assert governor.last(1)[0].verdict == "stream-moves"


def test_steps_that_are_much_worse_are_undone_and_nothing_is_followed_any_more(installation, project, ledger):
    settings, _ = installation
    follow(ledger, 1, 2)
    live(installation, ledger, 2)
    judge_followed(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert ledger.champion("toy").version == 1
    assert ledger.last_promotion("toy").verdict == "rollback"
    assert [d.kind for d in ledger.last_decisions("toy", 2)] == [KIND, "rolled-back"]
    assert followed_of(ledger, project, 1) is None
    assert Governor(ledger, project).standing().turned_down == 1


def test_steps_that_are_better_stay_and_are_on_no_probation_of_their_own(installation, project, ledger, better):
    settings, _ = installation
    state = follow(ledger, 2, better)
    live(installation, ledger, 1, as_version=better)
    judge_followed(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert ledger.champion("toy").version == better
    assert followed_of(ledger, project, better) == state
    assert settle_swap(settings, project, SWAP + timedelta(days=DAYS + 2)) is None


def test_once_enough_has_come_they_are_the_new_base(installation, project, ledger, better):
    settings, _ = installation
    follow(ledger, 2, better)
    state = begun(2, 100).step(better, 125)
    ledger.record_decision("toy", KIND, "A step.", dict(state.figures()), SWAP)
    live(installation, ledger, 1, as_version=better)
    judge_followed(settings, project, SWAP + timedelta(days=DAYS + 2))
    assert followed_of(ledger, project, better) == replace(begun(better, 125), won=2)
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


@pytest.fixture
def promoting(project, turn, monkeypatch):
    """Promotes a version in a turn, as the flow's step does."""
    monkeypatch.setattr(promote, "load_project", lambda *_: project)
    monkeypatch.setattr(promote, "create_markdown_artifact", lambda **_: None)

    def run(version):
        made = turn("stream-moves", is_step=True)
        made.write("search.json", {"kind": "kept"})
        rows = Rows("no table is read", 0, "d" * 64)
        return promote.promote_model.fn(made, rows, Registered(version, 0.0, ""))

    return run


def test_a_step_that_comes_after_its_stream_was_left_is_not_promoted(ledger, better, promoting):
    """A person went back while it was made: without a duel it must not undo that."""
    follow(ledger, 1, 2)
    ledger.rollback("toy")
    found = promoting(better)
    assert (found.decision, ledger.champion("toy").version) == ("kept", 1)
    assert "followed no more" in found.reason


def test_what_wins_its_duel_while_a_stream_is_followed_is_the_new_base(ledger, project, turn, better):
    follow(ledger, 1, 2)
    swap(ledger, project, turn("by hand"), better, 2)
    assert followed_of(ledger, project, better) == begun(better, 100)


def test_a_step_that_is_turned_down_ends_it(ledger, project, promoting, better, monkeypatch):
    """Its rows stay as many as a step needs, so each look would make one anew."""
    follow(ledger, 1, 2)
    gate = Gate(False, 0.1, (0.0, 0.2), 0.9, 1.0, 0.9, 40, "It is better.")
    unfair = Duel(False, gate, {"fairness": "it is below the floor."}, None, (), None, None)
    monkeypatch.setattr(promote, "_hold_duel", lambda *_: unfair)
    assert promoting(better).decision == "kept"
    assert followed_of(ledger, project, 2) is None
    assert ledger.last_decisions("toy", 1, kind=KIND)[0].reason.endswith(
        "a step was turned down, and the next would be made at once."
    )


def test_a_step_is_not_promoted_where_a_person_is_asked_first_by_now(ledger, better, promoting, monkeypatch, project):
    follow(ledger, 1, 2)
    asks = project.model_copy(update={"promote": project.promote.model_copy(update={"approval": "human"})})
    monkeypatch.setattr(promote, "load_project", lambda *_: asks)
    assert (promoting(better).decision, ledger.champion("toy").version) == ("kept", 2)


def test_a_step_that_failed_after_its_promotion_says_what_it_did(ledger, project, promoting):
    """Tried again, it finds its version champion already; a duel with itself would say `kept`."""
    state = follow(ledger, 1, 2)
    found = promoting(2)
    assert (found.decision, found.reason) == ("promoted", "a step")
    assert [d.kind for d in ledger.last_decisions("toy", 2)] == ["promoted", KIND]
    assert followed_of(ledger, project, 2) == state


def test_a_step_leaves_out_what_a_key_in_doubt_has_labelled(installation, ledger, project, better, turn, monkeypatch):
    """It lies too seldom for its labels to be set aside; another retrain learns from them, and its duel judges it."""
    settings, table = installation
    follow(ledger, 2, better)
    live(installation, ledger, 1, days=5, as_version=better)
    rows = ledger.labelled("toy")
    with ledger.engine.begin() as connection:
        for number, row in enumerate(rows[::3]):
            values = {"key_id": "thief"} | ({"label": json.dumps(row.label + 9)} if number % 3 == 0 else {})
            connection.execute(update(feedback).where(feedback.c.id == row.id).values(**values))
    monkeypatch.setattr(label, "load_project", lambda *_: project)
    monkeypatch.setattr(label, "create_markdown_artifact", lambda **_: None)
    taken = {}
    for is_step in (True, False):
        made = replace(turn("stream-moves", is_step=is_step), at=(SWAP + timedelta(days=7)).isoformat())
        Schema.load(project.folder / "schema.json").save(made.path("schema.json"))
        frame = table.iloc[240:]  # the first were the stream's
        frame = frame.assign(**{ROW: [f"t:{i}" for i in range(len(frame))], SOURCE: "table", AT: frame["when"]})
        found = label.label_data.fn(made, Rows(snapshot(frame, settings, "toy"), len(frame), "d" * 64))
        taken[is_step] = set(load_snapshot(found.path)[ROW])
    assert taken[False] - taken[True] == {f"p:{row.id}" for row in rows[::3]}
