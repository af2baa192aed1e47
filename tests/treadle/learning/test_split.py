"""The split: by time, by group or stratified, seeded, and never leaking."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData
from treadle.learning.history import History
from treadle.learning.split import MIN_JUDGES, bound, split_rows
from treadle.project import Data, Project
from treadle.tables.data import AT, ROW, SOURCE, conform, infer_schema


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
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    whole = split_rows(frame, made, schema, frozen=None, seen=None)
    split = bound(whole, frame, made, schema, History(window=timedelta(days=10)))
    assert at(frame, split.train + split.valid).min() >= frame[AT].max() - pd.Timedelta(days=10)
    assert at(frame, split.train).max() < at(frame, split.valid).min()
    assert (split.test, split.holdout) == (whole.test, whole.holdout)
    assert set(split.train + split.valid + split.left_out) == set(whole.train + whole.valid)
    assert bound(split, frame, made, schema, History(window=timedelta(days=10))) == split


def test_rows_that_were_too_old_to_learn_from_do_not_judge_later(toy_table):
    """They are older than what the champion learned from: a retrain is judged by what came after."""
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    first = split_rows(frame[:500], made, schema, frozen=None, seen=None)
    narrow = bound(first, frame[:500], made, schema, History(window=timedelta(days=10)))
    seen = set(narrow.train + narrow.valid + narrow.test + narrow.left_out)
    again = split_rows(frame, made, schema, frozen=set(first.holdout), seen=seen)
    assert at(frame, again.test).min() > at(frame, first.test).max()
    assert len(again.test) == 50


def test_a_window_that_leaves_nothing_says_so(toy_table):
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    whole = split_rows(frame, made, schema, frozen=None, seen=None)
    with pytest.raises(BadData, match="No rows are left for the train part"):
        bound(whole, frame, made, schema, History(window=timedelta(hours=1)))


def test_labels_that_callers_sent_are_never_in_the_frozen_holdout(toy_table):
    made = project(data={"time": "when"})
    frame, schema = frame_of(toy_table, made)
    frame[SOURCE] = np.where(np.arange(600) % 3 == 0, "feedback", "table")
    holdout = split_rows(frame, made, schema, frozen=None, seen=None).holdout
    assert len(holdout) > 20
    assert set(frame.set_index(ROW)[SOURCE][list(holdout)]) == {"table"}


def test_too_few_rows_and_too_rare_classes_are_named(toy_table):
    made = project("tabular-classification")
    frame, schema = frame_of(toy_table, made)
    with pytest.raises(BadData, match="50 or more"):
        split_rows(frame[:49], made, schema, frozen=None, seen=None)
    with pytest.raises(BadData, match="'no'"):
        split_rows(frame[frame["churned"] == "yes"], made, schema, frozen=None, seen=None)


CLASSES, NUMBERS = "tabular-classification", "tabular-regression"


@pytest.fixture
def make():
    """Makes (frame, project, schema) of a table; keyword arguments are parts of the project."""

    def build(table, problem=CLASSES, *, time=None, group=None, **parts):
        data = Data(source="a.csv", target="y", time=time, group=group)
        schema = infer_schema(table, data, problem)
        project = Project.model_validate({"name": "a", "problem": problem, "data": data, **parts})
        return conform(table, schema), project, schema

    return build


def table(n=600, seed=0, classes=("a", "b"), p=None):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.normal(size=n), "y": rng.choice(classes, n, p=p)})


def timed(n=600, freq="h", seed=0):
    rows = table(n, seed).assign(y=np.random.default_rng(seed).normal(size=n))
    rows["when"] = pd.date_range("2024-01-01", periods=n, freq=freq)
    return rows.sample(frac=1, random_state=seed)


def first(frame, project, schema):
    return split_rows(frame, project, schema, frozen=None, seen=None)


def parts_of(split):
    return {"train": split.train, "valid": split.valid, "test": split.test, "holdout": split.holdout}


def rows_of(frame, ids):
    return frame[frame["__row__"].isin(ids)]


def assert_apart(frame, split):
    together = [row for part in parts_of(split).values() for row in part]
    assert len(together) == len(set(together))
    assert set(together) <= set(frame["__row__"])


def test_random_split_has_the_shares_and_every_row(make):
    frame, project, schema = make(table(1000))
    split = first(frame, project, schema)
    assert_apart(frame, split)
    sizes = {name: len(ids) for name, ids in parts_of(split).items()}
    assert sum(sizes.values()) == 1000
    assert sizes["holdout"] == pytest.approx(100, abs=3)
    assert sizes["test"] == pytest.approx(180, abs=3)
    assert sizes["valid"] == pytest.approx(144, abs=3)
    assert "stratified" in split.how


def test_classes_keep_their_shares(make):
    frame, project, schema = make(table(1000, p=[0.93, 0.07]))
    split = first(frame, project, schema)
    overall = (frame["y"] == "b").mean()
    for ids in parts_of(split).values():
        assert (rows_of(frame, ids)["y"] == "b").mean() == pytest.approx(overall, abs=0.01)


def test_a_split_is_the_same_by_its_seed(make):
    one, two = make(table(), split={"seed": 1}), make(table(), split={"seed": 2})
    assert first(*one) == first(*one)
    assert first(*one).test != first(*two).test


def test_the_order_of_the_rows_does_not_move_them_between_holdout_and_rest(make):
    frame, project, schema = make(timed(), NUMBERS, time="when")
    shuffled = frame.sample(frac=1, random_state=5).reset_index(drop=True)
    assert set(first(frame, project, schema).holdout) == set(first(shuffled, project, schema).holdout)


def test_with_time_the_newest_judge_and_the_holdout_is_whole_spread_days(make):
    frame, project, schema = make(timed(24 * 60), NUMBERS, time="when")
    split = first(frame, project, schema)
    assert_apart(frame, split)
    times = {name: rows_of(frame, ids)[AT] for name, ids in parts_of(split).items()}
    assert times["train"].max() < times["valid"].min() <= times["valid"].max() < times["test"].min()
    days = times["holdout"].dt.floor("D")
    assert set(days.value_counts()) == {24}
    assert days.nunique() == pytest.approx(6, abs=1)
    assert days.max() - days.min() > pd.Timedelta(days=40)


def test_rows_of_one_moment_stay_together(make):
    rows = timed(600)
    rows["when"] = rows["when"].dt.floor("7h")
    frame, project, schema = make(rows, NUMBERS, time="when")
    split = first(frame, project, schema)
    where = {row: name for name, ids in parts_of(split).items() for row in ids}
    assert frame.groupby(AT)["__row__"].agg(lambda ids: len({where[i] for i in ids})).max() == 1


def test_a_row_without_a_time_is_the_oldest_and_the_split_stays_by_time(make):
    rows = timed()
    rows.loc[3, "when"] = pd.NaT
    frame, project, schema = make(rows, NUMBERS, time="when")
    split = first(frame, project, schema)
    test = rows_of(frame, split.test)
    assert "by time" in split.how
    assert test["__at__"].notna().all()
    assert rows_of(frame, split.train + split.valid)["__at__"].max() < test["__at__"].min()


def test_a_few_days_still_give_a_holdout(make):
    frame, project, schema = make(timed(100), NUMBERS, time="when")
    split = first(frame, project, schema)
    assert 5 <= len(split.holdout) <= 15
    assert len(split.test) > 0


def test_no_holdout_when_none_is_wanted(make):
    frame, project, schema = make(table(), split={"holdout": 0})
    assert first(frame, project, schema).holdout == ()


def test_a_retrain_is_judged_on_unseen_rows_and_keeps_the_holdout(make):
    frame, project, schema = make(table(1000))
    old = first(frame.iloc[:600].reset_index(drop=True), project, schema)
    seen = {*old.train, *old.valid, *old.test}
    split = split_rows(frame, project, schema, frozen=set(old.holdout), seen=seen)
    assert_apart(frame, split)
    assert set(split.holdout) == set(old.holdout)
    assert not set(split.test) & (seen | set(old.holdout))
    assert len(split.test) == pytest.approx(200, abs=3)
    assert set(old.test) <= {*split.train, *split.valid}


def test_judges_are_at_most_a_window(make):
    frame, project, schema = make(table(1000), watch={"window": 40})
    split = split_rows(frame, project, schema, frozen=set(), seen={frame["__row__"][0]})
    assert len(split.test) == pytest.approx(40, abs=2)


def test_without_unseen_rows_and_holdout_nobody_can_judge(make):
    frame, project, schema = make(table(600))
    with pytest.raises(BadData, match="left to judge"):
        split_rows(frame, project, schema, frozen=set(), seen=set(frame["__row__"]))


def test_repeats_that_come_later_neither_judge_nor_touch_the_holdout(make):
    rows = table(400)
    frame, project, schema = make(rows)
    old = first(frame, project, schema)
    later, _, _ = make(pd.concat([rows, rows.iloc[:200], table(100, seed=9)]))
    seen = {*old.train, *old.valid, *old.test}
    split = split_rows(later, project, schema, frozen=set(old.holdout), seen=seen)
    bare = {name: {row.split("#")[0] for row in ids} for name, ids in parts_of(split).items()}
    assert set(split.holdout) == set(old.holdout)
    assert not bare["holdout"] & (bare["train"] | bare["valid"] | bare["test"])
    assert len(split.test) == pytest.approx(50, abs=2)
    assert not bare["test"] & seen


def test_groups_do_not_straddle_at_a_retrain(make):
    rows = table(600)
    rows["who"] = [f"p{i}" for i in np.random.default_rng(1).integers(0, 40, 300)] + [
        f"p{i}" for i in np.random.default_rng(2).integers(20, 80, 300)
    ]
    frame, project, schema = make(rows, group="who")
    old = first(frame.iloc[:300].reset_index(drop=True), project, schema)
    seen = {*old.train, *old.valid, *old.test}
    split = split_rows(frame, project, schema, frozen=set(old.holdout), seen=seen)
    groups = [set(rows_of(frame, ids)["who"]) for ids in parts_of(split).values()]
    assert len(split.test) >= MIN_JUDGES
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert not set(rows_of(frame, split.test)["who"]) & set(rows_of(frame, seen)["who"])


def test_groups_that_all_reach_the_last_day_are_drawn_one_by_one(make):
    rows = timed(900, freq="D").reset_index(drop=True)
    rows["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(900) // 30, unit="D")
    rows["shop"] = [f"s{i % 30}" for i in range(900)]
    frame, project, schema = make(rows, NUMBERS, time="when", group="shop")
    split = first(frame, project, schema)
    assert len(split.test) == pytest.approx(0.2 * 810, abs=30)
    assert "by time, in whole `shop` groups" in split.how


def test_too_few_rows_say_how_many_are_needed(make):
    frame, project, schema = make(table(49))
    with pytest.raises(BadData, match="49 labelled rows are too few to split; bring 50 or more"):
        first(frame, project, schema)


def test_fifty_rows_are_enough(make):
    frame, project, schema = make(table(50))
    split = first(frame, project, schema)
    assert_apart(frame, split)
    assert all(parts_of(split).values())


def test_a_class_of_one_row_is_named(make):
    rows = table(200)
    rows.loc[5, "y"] = "rare"
    with pytest.raises(BadData, match="'rare' has fewer than 2 rows"):
        first(*make(rows))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_rare_classes_learn_first(make, count):
    rows = table(400)
    rows.loc[: count - 1, "y"] = "rare"
    frame, project, schema = make(rows)
    split = first(frame, project, schema)
    assert (rows_of(frame, split.train)["y"] == "rare").sum() >= 2


@pytest.mark.parametrize("seed", range(12))
def test_any_table_is_split_apart(make, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 400))
    rows = table(n, seed, classes=("a", "b", "c"))
    rows["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), unit="h")
    rows["who"] = rng.integers(0, 30, n).astype(str)
    rows = rows.iloc[rng.integers(0, n, n)]  # with repeats
    choice = [{}, {"time": "when"}, {"group": "who"}, {"time": "when", "group": "who"}][seed % 4]
    frame, project, schema = make(rows, **choice)
    split = first(frame, project, schema)
    assert_apart(frame, split)
    where = {row: name for name, ids in parts_of(split).items() for row in ids}
    if "group" in choice:
        assert frame.groupby("who")["__row__"].agg(lambda ids: len({where[i] for i in ids})).max() == 1
