"""The split: by time, by group or stratified, seeded, and never leaking."""

import numpy as np
import pandas as pd
import pytest

from treadle.data import AT, ROW, conform, infer_schema
from treadle.errors import BadData
from treadle.project import Project
from treadle.split import split_rows


def project(problem="tabular-regression", **changes):
    target = "amount" if problem.endswith("regression") else "churned"
    data = {"source": "t.csv", "target": target} | changes.pop("data", {})
    return Project.model_validate({"name": "toy", "problem": problem, "data": data} | changes)


def frame_of(table, made):
    other = "churned" if made.data.target == "amount" else "amount"
    raw = table.drop(columns=other)
    schema = infer_schema(raw, made.data, made.problem)
    return conform(raw, schema), schema


def at(frame, ids):
    return frame.set_index(ROW)[AT][list(ids)]


def test_by_time_judges_are_the_newest_and_nothing_is_in_two_parts(toy_table):
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    split = split_rows(frame, made, schema, frozen=None, seen=None)
    parts = [split.train, split.valid, split.test, split.holdout]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 600
    assert at(frame, split.train).max() < at(frame, split.valid).min()
    assert at(frame, split.valid).max() < at(frame, split.test).min()
    assert len(split.test) == pytest.approx(0.2 * 540, abs=12)
    days = at(frame, split.holdout).dt.floor("D")
    assert not days.isin(at(frame, split.train + split.test).dt.floor("D")).any()


def test_groups_never_straddle(toy_table):
    table = toy_table.assign(family=np.arange(600) // 7)
    made = project(data={"group": "family"})
    frame, schema = frame_of(table, made)
    split = split_rows(frame, made, schema, frozen=None, seen=None)
    groups = [
        set(frame.set_index(ROW)["family"][list(part)])
        for part in (split.train, split.valid, split.test, split.holdout)
    ]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert "family" not in [c.name for c in schema.features]


def test_stratified_keeps_the_shares_and_the_seed(toy_table):
    made = project("tabular-classification")
    frame, schema = frame_of(toy_table, made)
    split = split_rows(frame, made, schema, frozen=None, seen=None)
    label = frame.set_index(ROW)["churned"]
    for part in (split.train, split.valid, split.test, split.holdout):
        assert (label[list(part)] == "yes").mean() == pytest.approx(0.5, abs=0.05)
    assert split == split_rows(frame, made, schema, frozen=None, seen=None)


def test_repeats_of_a_row_stay_together(toy_table):
    table = pd.concat([toy_table.drop(columns="when"), toy_table.drop(columns="when")], ignore_index=True)
    made = project("tabular-classification")
    frame, schema = frame_of(table, made)
    split = split_rows(frame, made, schema, frozen=None, seen=None)
    parts = [{row.split("#")[0] for row in part} for part in (split.train, split.valid, split.test, split.holdout)]
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_a_retrain_is_judged_on_the_newest_rows_that_the_champion_has_not_seen(toy_table):
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    first = split_rows(frame[:400], made, schema, frozen=None, seen=None)
    seen = set(first.train + first.valid + first.test)
    again = split_rows(frame, made, schema, frozen=set(first.holdout), seen=seen)
    assert set(again.holdout) == set(first.holdout)
    assert not set(again.test) & seen
    assert len(again.test) == 100
    assert at(frame, again.test).min() > at(frame, again.train + again.valid).max()


def test_without_new_rows_the_holdout_judges(toy_table):
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    first = split_rows(frame, made, schema, frozen=None, seen=None)
    again = split_rows(frame, made, schema, frozen=set(first.holdout), seen=set(first.train + first.valid + first.test))
    assert again.test == ()
    assert "holdout judges" in again.how


def test_history_bounds_what_is_learned_from(toy_table):
    made = project(data={"time": "when"}, retrain={"history": "10d"})
    frame, schema = frame_of(toy_table, made)
    split = split_rows(frame, made, schema, frozen=None, seen=None)
    assert at(frame, split.train).min() >= frame[AT].max() - pd.Timedelta("10d")


def test_too_few_rows_and_too_rare_classes_are_named(toy_table):
    made = project("tabular-classification")
    frame, schema = frame_of(toy_table, made)
    with pytest.raises(BadData, match="50 or more"):
        split_rows(frame[:49], made, schema, frozen=None, seen=None)
    with pytest.raises(BadData, match="'no'"):
        split_rows(frame[frame["churned"] == "yes"], made, schema, frozen=None, seen=None)
