"""A recipe learns from as much of the past as its history says, and from all of it where too little would be left."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from treadle.errors import BadData
from treadle.families import load_family
from treadle.learning.history import Choice, History
from treadle.learning.recipe import fit_recipe, keep_to_history
from treadle.learning.split import split_rows
from treadle.problems import load_problem
from treadle.project import Project


def project(history="auto"):
    return Project.model_validate(
        {
            "name": "toy", "problem": "tabular-regression", "data": {"source": "t.csv", "target": "amount", "time": "when"},
            "retrain": {"history": history},
        }
    )  # fmt: skip


@pytest.fixture
def divided(toy):
    schema, frame = toy("tabular-regression")
    return schema, frame, split_rows(frame, project(), schema, frozen=None, seen=None)


def test_weights_by_age_change_what_is_learned(toy):
    schema, frame = toy("tabular-regression")
    params = load_family("linear").defaults(load_problem("tabular-regression"))
    alike, weighted = (
        fit_recipe(project(), schema, frame, "linear", params, history)
        for history in (History(), History(half_life=timedelta(days=2)))
    )
    assert not np.allclose(alike.predict(frame), weighted.predict(frame))


def test_a_window_leaves_the_old_rows_out(divided):
    schema, frame, split = divided
    kept, choice = keep_to_history(
        split, frame, project(), schema, Choice(History(window=timedelta(days=12)), (), "Said so.")
    )
    assert choice.why == "Said so."
    assert kept.left_out
    assert len(kept.train) + len(kept.valid) + len(kept.left_out) == len(split.train) + len(split.valid)


def test_a_window_in_which_nothing_is_left_is_all_history_unless_the_project_named_it(divided):
    schema, frame, split = divided
    late = replace(split, train=split.train[:50], valid=split.valid[:0])
    nothing = Choice(History(window=timedelta(hours=1)), (), "Said so.")
    kept, choice = keep_to_history(late, frame, project(), schema, nothing)
    assert (kept, choice.history) == (late, History())
    assert choice.why.startswith("All history: of 1h too little is left.")
    with pytest.raises(BadData):
        keep_to_history(late, frame, project("1h"), schema, nothing)
