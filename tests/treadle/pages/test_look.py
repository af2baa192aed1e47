"""A look in plain words: from everything that is known to nothing at all, and what is unknown is never a number."""

import math

import pytest

from treadle.pages.look import in_words, moved, number, short
from treadle.quality.words import BLIND

LOOK = {
    "project": "bikes",
    "version": 3,
    "verdict": "drift",
    "reason": "Inputs moved: temp.",
    "window": {"rows": 1000, "labelled": 12},
    "columns": [
        {"name": "temp", "statistic": 0.52, "threshold": 0.12, "drifted": True},
        {"name": "hum", "statistic": 0.03, "threshold": 0.2, "drifted": False},
    ],
    "quality": None,
    "report": None,
    "retrain": False,
    "retrain_reason": "drift, but the cooldown is 6h.",
}


def test_what_flows_give_today_is_said_whole():
    words = in_words(LOOK)
    assert words.title == "bikes, version 3: drift"
    assert words.happened == "Inputs moved: temp."
    assert words.columns == "temp: values moved (0.52, 0.12 allowed)."
    assert words.decided == "No retrain. drift, but the cooldown is 6h."
    assert words.false_alarms is None
    assert words.costs == ("Not known: there are too few labels, and no estimate of the errors.",)
    assert [name for name, _ in words.lines()] == [
        "What happened", "Since when", "What moved", "What it costs", "What was decided",
    ]  # fmt: skip


def test_what_was_answered_again_is_said():
    again = in_words(LOOK | {"window": {"rows": 1000, "labelled": 120, "answered_again": 96}})
    assert "96 of the labelled rows that judge this version" in " ".join(again.costs)
    none = in_words(LOOK | {"window": {"rows": 1000, "labelled": 120, "answered_again": 0}})
    assert "again" not in " ".join(none.costs)


def test_false_alarms_of_the_rule_for_losses_stand_beside_a_loss():
    words = in_words(LOOK | {"quality": {"quiet_stretches": 8, "quiet_alarms": 1}})
    assert words.false_alarms == (
        "Of 8 quiet stretches with as many labelled days this rule calls 1 lost, measured on the version's own reference."
    )


def test_how_a_stream_is_followed_is_said():
    words = in_words(LOOK | {"followed": {"state": "follows", "reason": "The stream is followed from version 2 on."}})
    assert ("Steps", "The stream is followed from version 2 on.") in words.lines()
    assert "Steps" not in dict(in_words(LOOK | {"followed": None}).lines())


def test_what_is_new_is_said_too():
    words = in_words(
        LOOK
        | {
            "since": {"at": "2011-06-14T22:00:00+00:00", "looks": 3},
            "persistence": {"looks": 2, "of": 3, "needed": 2},
            "findings": [{"kind": "missing", "name": "wind", "statistic": 0.4, "threshold": 0.1, "drifted": True}],
            "false_alarm_rate": 0.012,
            "impact": {"harm": 0.18, "reason": "temp weighs much, 18 %."},
            "estimate": {
                "metric": "mae", "value": 40.2, "low": 36.0, "high": 44.5,
                "track_record": {"windows": 5, "mean_absolute_error": 2.3},
            },
            "coverage": {"answered": 1000, "labelled": 12, "share": 0.012},
            "suppressed": "cooldown",
            "probation": {"state": "running", "reason": "Version 3 holds so far."},
        }
    )  # fmt: skip
    assert words.since == (
        "Since 2011-06-14 22:00 UTC, 3 looks in a row. 2 of the last 3 looks found it; 2 are needed."
    )
    assert words.columns == "temp: values moved (0.52, 0.12 allowed); wind: missing values (0.4, 0.1 allowed)."
    assert words.costs == (
        "temp weighs much, 18 %.",
        "Estimated mae now: 40.2, between 36 and 44.5.",
        "So far such estimates were off by 2.3 on average, in 5 windows.",
        BLIND,
        "Labels have come for 12 of 1,000 predictions (1%).",
    )
    assert words.decided.startswith("No retrain (the rule: cooldown). drift")
    assert "1.2%" in words.false_alarms
    assert dict(words.lines())["Probation"] == "Version 3 holds so far."


def test_quality_is_the_cost_that_is_known_best():
    quality = {"reference": 2.5, "window": 3.1, "ratio": 1.24, "lower": 1.1, "labelled": 80}
    assert in_words(LOOK | {"quality": quality}).costs == ("Mean loss 3.1 on 80 labelled predictions; 2.5 was normal.",)
    squared = in_words(LOOK | {"quality": quality | {"loss": "squared error"}}).costs
    assert squared == ("Mean squared error 3.1 on 80 labelled predictions; 2.5 was normal.",)
    (said,) = in_words(LOOK | {"quality": quality | {"baseline": 3.0}}).costs
    assert said.endswith("2.5 was normal. The trivial baseline would have 3 on the same rows.")


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, "0.1", True])
def test_what_is_not_a_figure_is_not_said_as_one(unknown):
    look = LOOK | {
        "false_alarm_rate": unknown,
        "impact": {"harm": unknown},
        "estimate": {"metric": "mae", "value": unknown},
        "columns": [{"name": "temp", "statistic": unknown, "threshold": unknown, "drifted": True}],
    }
    words = in_words(look)
    assert words.false_alarms is None
    assert words.costs == ("Not known: there are too few labels, and no estimate of the errors.",)
    assert words.columns == "temp: values moved."


def test_harm_without_words_and_findings_with_words_of_their_own():
    finding = {"kind": "input", "name": "temp", "statistic": 0.5, "threshold": 0.1, "drifted": True}
    look = LOOK | {
        "impact": {"harm": -0.02},
        "findings": [finding | {"said": "'temp' moved by +1.20 standard deviations."}],
    }
    assert in_words(look).costs == ("What moved is estimated to change the model's loss by -2.0%.",)
    assert in_words(look).columns == "'temp' moved by +1.20 standard deviations (0.5, 0.1 allowed)."


def test_an_empty_look_has_words_for_everything():
    words = in_words({})
    assert words.decided == "Nothing was decided yet."
    assert words.columns == "Not known: this window was not compared."
    assert words.since == "Not known."


def test_the_farthest_comes_first_and_a_finding_speaks_for_its_column():
    look = LOOK | {
        "findings": [
            {"kind": "categories", "name": "season", "statistic": 0.9, "threshold": 0.1, "drifted": True},
            {"kind": "input", "name": "temp", "statistic": 0.52, "threshold": 0.12, "drifted": True},
            {"kind": "input", "name": "hum", "statistic": 0.1, "threshold": 0.2, "drifted": False},
        ]
    }
    assert [(one.name, one.kind) for one in moved(look)] == [("season", "categories"), ("temp", "input")]


def test_names_are_cut_and_cannot_command_a_terminal():
    assert short("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    assert len(short("x" * 500)) == 60
    assert number(1234567.0) == "1.235e+06"
