"""The rows in event time: when labels are known, which windows there are, and what cannot be replayed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.treadle.replay.conftest import HOURS, hours
from treadle.errors import BadData, BrokenTable, NotFound
from treadle.replay import read_stream
from treadle.tables.data import AT

DAY = timedelta(days=1)


def at(day):
    return datetime(2024, 1, 1, tzinfo=UTC) + day * DAY


def test_windows_follow_each_other_and_hold_every_row_after_the_start(make_project):
    stream = read_stream(make_project(hours()), None, at(16), 3 * DAY, DAY)
    assert stream.windows[0].begin == pd.Timestamp("2024-01-17")
    assert all(a.end == b.begin and a.last == b.first for a, b in zip(stream.windows, stream.windows[1:], strict=False))
    assert stream.windows[0].first == 16 * HOURS
    assert stream.windows[-1].last == len(stream.frame)


def test_a_label_is_known_when_its_delay_is_over_and_the_first_rows_at_once(make_project):
    stream = read_stream(make_project(hours()), None, at(16), DAY, 2 * DAY)
    assert len(stream.known(stream.start)) == 16 * HOURS
    assert len(stream.known(stream.start + DAY)) == 16 * HOURS
    three = stream.known(stream.start + 3 * DAY)
    assert len(three) == 17 * HOURS + 1  # the row of the very hour, two days ago
    assert stream.frame[AT].iloc[three[-1]] == stream.start + DAY


def test_rows_without_a_label_are_never_known(make_project):
    table = hours()
    table.loc[::3, "y"] = np.nan
    stream = read_stream(make_project(table), None, at(16), DAY, DAY)
    assert len(stream.known(stream.windows[-1].end + 9 * DAY)) == len(table) - len(table[::3])


def test_gaps_in_time_are_windows_without_rows(make_project):
    table = hours()
    gap = table["when"].between("2024-01-20", "2024-01-30")
    stream = read_stream(make_project(table[~gap]), None, at(16), DAY, DAY)
    assert len(stream.windows) == 28
    assert sum(span.first == span.last for span in stream.windows) == 10


def test_times_in_any_order_are_sorted_and_it_is_said(make_project):
    ordered = read_stream(make_project(hours()), None, at(16), DAY, DAY)
    mixed = read_stream(make_project(hours().sample(frac=1, random_state=0), name="mixed"), None, at(16), DAY, DAY)
    assert "sorted" in mixed.notes[0]
    assert ordered.notes == ()
    assert mixed.frame["size"].tolist() == ordered.frame["size"].tolist()


def test_rows_without_a_time_are_left_out_and_counted(make_project):
    table = hours().astype({"when": "object"})
    table.loc[[0, 5], "when"] = None
    stream = read_stream(make_project(table), None, at(16), DAY, DAY)
    assert stream.notes == ("2 rows without a time are left out.",)


def test_what_is_not_said_is_chosen(make_project):
    stream = read_stream(make_project(hours()))
    assert stream.windows[0].first == len(stream.frame) // 3
    assert 15 <= len(stream.windows) <= 20
    assert stream.delay == stream.every


def test_a_stream_begins_where_the_source_ends_and_shared_rows_count_once(make_project):
    table = hours()
    project = make_project(table[: 20 * HOURS])
    table[10 * HOURS :].to_csv(project.folder / "later.csv", index=False)
    stream = read_stream(project, "later.csv", None, DAY)
    assert len(stream.frame) == len(table)
    assert stream.start == pd.Timestamp("2024-01-21")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"start": at(400)}, "No row is after 2025-02-04 00:00:00: the newest is of 2024-02-13"),
        ({"start": at(2)}, "24 labelled rows are before 2024-01-03"),
        ({"start": at(16), "every": timedelta(seconds=1)}, "at most 3,000 are replayed"),
        ({"start": at(16), "every": timedelta(0)}, "--every"),
    ],
)
def test_a_start_or_a_length_that_cannot_be_is_said(make_project, given, says):
    with pytest.raises(BadData, match=says):
        read_stream(make_project(hours()), **given)


def test_a_project_or_table_that_cannot_be_replayed_is_named(make_project):
    timeless = make_project(hours(), name="timeless", data={"time": None})
    with pytest.raises(BadData, match="'timeless' has no time column"):
        read_stream(timeless)
    with pytest.raises(BrokenTable, match=r"no column 'yy'.*Did you mean 'y'\?|no column 'yy'"):
        read_stream(make_project(hours(), name="other", data={"target": "yy"}))
    project = make_project(hours())
    with pytest.raises(NotFound, match=r"nowhere\.csv"):
        read_stream(project, "nowhere.csv")
    hours().drop(columns="when").to_csv(project.folder / "still.csv", index=False)
    with pytest.raises(BrokenTable, match=r"still\.csv has no column 'when'"):
        read_stream(project, "still.csv")
    with pytest.raises(BadData, match="does not have already"):
        read_stream(project, "rows.csv")
