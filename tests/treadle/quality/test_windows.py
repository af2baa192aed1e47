"""Windows are spans of time that stay where they are; what is not known is None."""

from datetime import UTC, datetime, timedelta

import pytest

from treadle.ledger import QualityWindow
from treadle.quality.windows import Grid, figures, grid_of, track_record
from treadle.quality.words import BLIND, say_quality

MONDAY = datetime(2011, 4, 4, tzinfo=UTC)


def window(value=None, estimate=None, answered=100, labelled=0):
    return QualityWindow(MONDAY, MONDAY + timedelta(days=7), "mae", answered, labelled, value, estimate)


@pytest.mark.parametrize(
    ("hours", "rows", "wanted", "span"),
    [
        (335, 336, 336, timedelta(days=7)),
        (167, 168, 336, timedelta(days=7)),  # half a window has come so far
        (30 * 24, 1000, 1000, timedelta(weeks=4)),
        (5, 1000, 1000, timedelta(hours=1)),
        (0, 1, 1000, timedelta(hours=1)),
    ],
)
def test_the_grid_follows_the_traffic(hours, rows, wanted, span):
    assert grid_of(MONDAY, MONDAY + timedelta(hours=hours), rows, wanted).span == span


@pytest.mark.parametrize(
    ("days", "rows", "span"),
    [
        (999, 1000, timedelta(weeks=12)),  # one a day: four weeks hold 28
        (499, 1000, timedelta(weeks=4)),
        (7 * 199, 200, timedelta(weeks=52)),  # one a week
        (30 * 59, 60, timedelta(weeks=52)),  # one a month: nothing longer is there
        (0, 1, timedelta(hours=1)),
    ],
)
def test_a_window_is_long_enough_to_measure_by(days, rows, span):
    assert grid_of(MONDAY, MONDAY + timedelta(days=days), rows, 1000, least=50).span == span


def test_weeks_begin_on_mondays_and_every_moment_is_in_its_span():
    grid = Grid(timedelta(days=7))
    for days in (0, 0.1, 6.99):
        assert grid.begin(grid.number(MONDAY + timedelta(days=days))) == MONDAY
    assert grid.begin(grid.number(MONDAY - timedelta(seconds=1))) == MONDAY - timedelta(days=7)


def test_what_is_not_known_is_none_and_never_0():
    said = figures(window())
    assert (said["metric"], said["estimate"], said["low"], said["high"]) == (None,) * 4
    assert said["coverage"] == 0.0  # that nothing came is known
    assert figures(window(answered=0))["coverage"] is None
    assert track_record([]) is None
    assert track_record([window(), window(value=3.0), window(estimate={"value": 1.0, "low": 0.0, "high": 2.0})]) is None


def test_the_track_record_counts_windows_that_have_both():
    estimate = {"value": 3.0, "low": 2.5, "high": 3.5}
    record = track_record([window(3.2, estimate), window(4.0, estimate), window(None, estimate)])
    assert record == {"windows": 2, "mean_absolute_error": pytest.approx(0.6), "inside": 0.5}


def test_the_words_name_what_estimates_cannot_see():
    said = {
        "coverage": {"answered": 200, "labelled": 20, "share": 0.1, "early": 3, "expired": 1},
        "estimate": {
            "metric": "mae", "value": 31.0, "low": 27.0, "high": 35.0, "method": "loss", "outside": 0.2,
            "track_record": {"windows": 4, "mean_absolute_error": 2.5, "inside": 0.75},
        },
        "impact": {"reason": "No input moved."},
    }  # fmt: skip
    labels, estimate, impact = say_quality(said)
    assert labels.startswith("Labels have come for 20 of 200 predictions (10%). 3 labels wait")
    assert "31 (27 to 35)" in estimate
    assert "off by 2.5" in estimate
    assert "20% of the rows" in estimate
    assert estimate.endswith(BLIND)
    assert impact == "No input moved."
    one = say_quality(said | {"coverage": {"answered": 200, "labelled": 20, "share": 0.1, "early": 1, "expired": 1}})
    assert "1 label waits for its prediction. 1 label was dropped, since no prediction came for it" in one[0]
    nothing = say_quality({"coverage": {"answered": 0}, "estimate": None, "impact": {"reason": "Not known."}})
    assert "cannot be estimated" in nothing[1]
