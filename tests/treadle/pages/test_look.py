"""A look in plain words: from everything that is known to nothing at all, and what is unknown is never a number."""

import math

import pytest

from treadle.pages.look import in_words, moved, span_in_words
from treadle.quality.words import BLIND
from treadle.wording import number, short

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
    assert words.columns == "temp: values moved (distance 0.52, 0.12 allowed)."
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
                "metric": "mae", "value": 40.2, "low": 36.0, "high": 44.5, "normal": 34.0,
                "track_record": {"windows": 5, "mean_absolute_error": 2.3},
            },
            "coverage": {"answered": 1000, "labelled": 12, "share": 0.012},
            "suppressed": "cooldown",
            "probation": {"state": "running", "reason": "Version 3 holds so far."},
        }
    )  # fmt: skip
    assert words.since == (
        "The verdict is drift since 2011-06-14 22:00 UTC, 3 looks in a row. 2 of the last 3 looks found it; 2 are needed."
    )
    assert (
        words.columns
        == "temp: values moved (distance 0.52, 0.12 allowed); wind: missing values (distance 0.4, 0.1 allowed)."
    )
    assert words.costs == (
        "temp weighs much, 18 %.",
        "Estimated mae without labels: 40.2 (36 to 44.5); 34 was normal. In 5 earlier windows it was off by 2.3 on average. "
        + BLIND,
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
    assert in_words(look).columns == "'temp' moved by +1.20 standard deviations (distance 0.5, 0.1 allowed)."


def test_what_labels_say_comes_first_and_an_idle_sentence_on_inputs_is_left_out():
    look = LOOK | {
        "verdict": "quality-loss",
        "quality": {"reference": 0.4, "window": 0.8, "labelled": 1000, "loss": "log loss"},
        "impact": {"harm": 0.0, "reason": "No input moved.", "columns": [{"name": "temp", "moved": False}]},
        "coverage": {"answered": 1000, "labelled": 780, "share": 0.78},
        "window": {"rows": 1000, "labelled": 1000},
    }
    assert in_words(look).costs == (
        "Mean log loss 0.8 on 1,000 labelled predictions; 0.4 was normal.",
        "Labels have come for 780 of 1,000 predictions (78%).",
        "220 older labelled rows of this version judge its errors, too.",
    )
    moved_too = look | {"impact": look["impact"] | {"columns": [{"name": "temp", "moved": True}]}}
    assert "No input moved." in in_words(moved_too).costs


def test_looks_in_a_row_that_found_other_things_say_since_when_each_moves():
    at = "2011-06-01T00:00:00+00:00"
    finding = {"statistic": 0.5, "threshold": 0.1, "drifted": True}
    look = LOOK | {
        "since": {"at": at, "looks": 5},
        "persistence": {"looks": 1, "of": 3, "needed": 1},
        "columns": [],
        "findings": [
            {"kind": "input", "name": "temp", "since": "2011-06-03T00:00:00+00:00", **finding},
            {"kind": "prediction", "name": "prediction", "since": "2011-06-05T00:00:00+00:00", **finding},
        ],
    }
    assert in_words(look).since == (
        "The verdict is drift since 2011-06-01 00:00 UTC, 5 looks in a row. What it finds now: temp since 2011-06-03 00:00 "
        "UTC; the answers since 2011-06-05 00:00 UTC. One look is enough."
    )
    same = look | {"findings": [{"kind": "input", "name": "temp", "since": at, **finding}]}
    assert "What it finds now" not in in_words(same).since


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        ("input", "(distance 0.5, 0.1 allowed)"),
        ("segment", "(0.1 times allowed)"),
        ("quality", "(chance allowed for, at least 0.5 times)"),
    ],
)
def test_a_figure_is_called_what_it_is(kind, figures):
    finding = {"kind": kind, "name": "temp", "statistic": 0.5, "threshold": 0.1, "drifted": True, "said": "It moved."}
    assert in_words(LOOK | {"findings": [finding]}).columns.startswith(f"It moved {figures}")


def test_what_happened_is_not_said_again_where_it_led_to_a_retrain():
    why = f"quality-loss: {LOOK['reason']} 500 new labelled rows to learn from."
    assert in_words(LOOK | {"retrain": True, "retrain_reason": why}).decided == (
        "Retrain. quality-loss, for what happened above. 500 new labelled rows to learn from."
    )


@pytest.mark.parametrize(
    ("span", "measured"),
    [
        ({"labelled": 0, "metric": None}, "unknown"),
        ({"labelled": 28, "metric": None}, "too few labels"),
        ({"labelled": 80, "metric": 1.5}, "1.5"),
        ({"labelled": 80, "metric": 0.0}, "0"),
    ],
)
def test_a_window_says_whether_its_labels_have_not_come_or_are_too_few(span, measured):
    assert span_in_words({"answered": 100, **span})["measured"] == measured


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
    assert (number(1234567.0), number(1834.4), number(0.0123456)) == ("1,235,000", "1,834", "0.01235")
