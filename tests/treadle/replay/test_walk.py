"""Four policies on one past: what each sees, decides, errs and spends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.treadle.replay.conftest import HOURS, hours
from treadle.errors import BadData
from treadle.replay import POLICIES, lay_out, read_stream, replay_policies
from treadle.replay.walk import as_record
from treadle.replay.wheel import OnTreadle
from treadle.tables.data import AT

DAY = timedelta(days=1)
START = datetime(2024, 1, 17, tzinfo=UTC)
CHANGE = 28


def replayed(project, names=POLICIES, every=2 * DAY, delay=DAY):
    return replay_policies(lay_out(project, read_stream(project, None, START, every, delay)), names)


def by_name(found):
    return {outcome.name: outcome for outcome in found.outcomes}


def without_seconds(record):
    """A record without the figures that no two runs share."""
    if isinstance(record, dict):
        return {key: without_seconds(value) for key, value in record.items() if not key.endswith("cpu_seconds")}
    return [without_seconds(part) for part in record] if isinstance(record, list) else record


def test_a_changed_world_is_noticed_late_and_paid_once(make_project):
    found = by_name(replayed(make_project(hours(change=CHANGE), retrain={"history": "10d"})))
    windows = len(found["static"].windows)
    assert (found["static"].retrains, found["static"].cpu_seconds) == (0, 0.0)
    assert found["every-window"].retrains == windows - 1
    assert found["evidently"].retrains < windows - 1
    assert 1 <= found["treadle"].retrains <= 4
    assert found["treadle"].error < found["static"].error / 1.25
    changed = [passed for passed in found["treadle"].windows if passed.retrained]
    assert changed[0].verdict == "quality-loss"
    assert changed[0].span.end >= found["treadle"].windows[0].span.begin + (CHANGE - 16) * DAY


def test_the_same_seed_is_the_same_replay(make_project):
    project = make_project(hours(change=CHANGE))
    names = ("static", "every-window", "treadle")
    first, second = (without_seconds(as_record(replayed(project, names))) for _ in range(2))
    assert first == second


def test_the_record_has_the_keys_that_are_promised(make_project):
    record = as_record(replayed(make_project(hours())))
    assert [policy["name"] for policy in record["policies"]] == ["static", "every-window", "evidently", "treadle"]
    assert record["metric"] == "mae"
    for policy in record["policies"]:
        assert {"name", "error", "retrains", "cpu_seconds", "windows"} <= set(policy)
        for window in policy["windows"]:
            assert {"from", "to", "error", "retrained", "verdict"} <= set(window)
        weighted = sum(window["error"] * window["rows"] for window in policy["windows"])
        assert policy["error"] == pytest.approx(weighted / sum(window["rows"] for window in policy["windows"]))
        assert policy["retrains"] == sum(window["retrained"] for window in policy["windows"])


def test_no_policy_sees_what_is_not_known_yet(make_project):
    """Other labels and other rows after a moment change nothing of what was answered and decided before it."""
    table = hours(change=CHANGE)
    project = make_project(table)
    stream = read_stream(project, None, START, 2 * DAY, DAY)
    late = stream.windows[8]
    frame = stream.frame.copy()
    unknown = np.setdiff1d(np.arange(len(frame)), stream.known(late.end))
    frame.loc[unknown, "y"] = 20 - frame.loc[unknown, "y"]
    courses = [lay_out(project, some) for some in (stream, replace(stream, frame=frame))]
    names = ("static", "every-window", "treadle")
    one, other = (by_name(replay_policies(course, names)) for course in courses)
    for name in names:
        said = [[(p.retrained, p.promoted, p.verdict, p.reason) for p in o[name].windows[:9]] for o in (one, other)]
        assert said[0] == said[1], name
        assert [p.error for p in one[name].windows[:8]] == [p.error for p in other[name].windows[:8]], name
    assert one["every-window"].error != other["every-window"].error


def test_a_new_champion_is_judged_by_rows_that_the_one_before_answered_and_never_by_what_it_learned_from(
    make_project, monkeypatch
):
    """With labels that are six days late there are enough to judge by before one of its own answers has one."""
    asked, losses = [], OnTreadle._losses

    def spy(self, standing, rows):
        asked.append((self._champion, rows, standing.answered_by[rows].copy()))
        return losses(self, standing, rows)

    monkeypatch.setattr(OnTreadle, "_losses", spy)
    project = make_project(hours(change=CHANGE), retrain={"history": "10d"})
    found = replayed(project, ("treadle",), DAY, 6 * DAY)
    times = found.course.stream.frame[AT]
    for champion, rows, by in asked:
        others = rows[by != champion.number]
        assert not np.isin(others, champion.learned).any()
        assert not len(others) or times.iloc[others].min() > times.iloc[champion.learned].max()
    enough = project.watch.min_labelled
    assert any(champion.number > 1 and len(by) >= enough and (by < champion.number).all() for champion, _, by in asked)


def test_a_quiet_world_is_left_alone(make_project):
    found = by_name(replayed(make_project(hours(days=80, seed=7)), ("static", "treadle")))
    assert found["treadle"].retrains == 0
    assert found["treadle"].error == found["static"].error


def test_windows_without_rows_and_without_labels_have_no_error_and_stop_nobody(make_project):
    table = hours(change=CHANGE)
    gap = table["when"].between("2024-01-20", "2024-01-26 23:00")
    table = table[~gap].reset_index(drop=True)
    table.loc[table["when"].between("2024-02-01", "2024-02-02 23:00"), "y"] = np.nan
    record = as_record(replayed(make_project(table), every=DAY))
    for policy in record["policies"]:
        empty = [window for window in policy["windows"] if window["error"] is None]
        assert len(empty) == 9, policy["name"]
        assert all(window["rows"] == 0 for window in empty)
        assert np.isfinite(policy["error"])


def test_where_no_label_came_there_is_nothing_new_to_learn(make_project):
    table = hours()
    table = table[~table["when"].between("2024-01-20", "2024-01-26 23:00")].reset_index(drop=True)
    found = by_name(replayed(make_project(table), ("every-window",), every=DAY))["every-window"]
    idle = [passed for passed in found.windows[:-1] if not passed.retrained]
    assert {passed.reason for passed in idle} == {"The window is over, and no label has come."}
    assert len(idle) == 6  # of seven days without rows: in the first of them the labels of the day before come


def test_classes_are_replayed_too(make_project):
    table = hours(days=60, change=CHANGE, classify=True)  # long enough to learn the new world after two refusals
    project = make_project(table, problem="tabular-classification")
    found = replayed(project)
    outcomes = by_name(found)
    assert found.course.error_name == "log_loss"
    assert outcomes["treadle"].error < outcomes["static"].error
    wrong = make_project(
        hours(classify=True), "wrong", problem="tabular-classification", promote={"metric": "accuracy"}
    )
    found = replayed(wrong, ("static",))
    assert found.course.error_name == "error_rate"
    assert 0 < found.outcomes[0].error < 0.5


def test_a_history_without_one_of_the_classes_keeps_the_old_model(make_project):
    table = hours(classify=True)
    table.loc[26 * HOURS :, "y"] = "no"
    project = make_project(table, problem="tabular-classification", retrain={"history": "8d"})
    found = by_name(replayed(project, ("every-window",)))["every-window"]
    refused = [passed for passed in found.windows if "could not be trained" in passed.reason]
    assert refused
    assert not any(passed.promoted for passed in refused)


def test_a_stream_without_labels_after_the_start_is_refused(make_project):
    table = hours()
    table.loc[table["when"] >= "2024-01-17", "y"] = np.nan
    with pytest.raises(BadData, match="no error can be told"):
        replayed(make_project(table))


def test_labels_that_come_later_help_later(make_project):
    project = make_project(hours(change=CHANGE))
    soon, late = (
        by_name(replayed(project, ("every-window",), delay=delay))["every-window"].error for delay in (DAY, 6 * DAY)
    )
    assert soon < late


def test_a_stream_that_keeps_moving_is_followed_after_its_first_loss(make_project):
    """A world that turns a little every day: steps begin with the first won duel, and cost one fit each."""
    table = hours(days=70)
    day = (table["when"].dt.normalize() - table["when"].min().normalize()).dt.days
    table["y"] = table["y"] + 1.2 * np.maximum(0, day - 14) * (table["plan"] == "plus")
    patient, following = (
        by_name(replayed(make_project(table, name=name, retrain=rules), ("treadle",)))["treadle"]
        for name, rules in (("patient", {"history": "20d"}), ("following", {"history": "20d", "follow": 0.1}))
    )
    steps = [passed for passed in following.windows if passed.reason.startswith("stream-moves")]
    first = next(passed for passed in following.windows if passed.promoted)
    assert first.verdict == "quality-loss"
    assert len(steps) >= 4
    assert all(passed.promoted and passed.span.end > first.span.end for passed in steps)
    assert following.error < patient.error


def test_a_quiet_stream_is_never_followed(make_project):
    found = by_name(replayed(make_project(hours(), retrain={"follow": 0.05}), ("static", "treadle")))
    assert found["treadle"].retrains == 0
    assert found["treadle"].error == found["static"].error
