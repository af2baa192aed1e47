"""The rule by which a policy is recommended."""

from datetime import timedelta

import pytest

from treadle.project import Retrain
from treadle.replay import Outcome, recommend


def outcome(name, error, cpu_seconds=0.0, retrains=0):
    return Outcome(name, error, retrains, retrains, cpu_seconds, 0.0, ())


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([outcome("static", 70.0), outcome("every-window", 31.0, 40.0, 30), outcome("treadle", 31.5, 10.0, 8)], "treadle"),
        ([outcome("static", 70.0), outcome("every-window", 31.0, 40.0, 30), outcome("treadle", 32.0, 10.0, 8)], "every-window"),
        ([outcome("static", 5.0), outcome("every-window", 4.95, 40.0, 30), outcome("treadle", 5.0)], "treadle"),
        ([outcome("static", 5.0), outcome("every-window", 5.3, 40.0, 30), outcome("treadle", 5.2, 1.0, 1)], "static"),
        ([outcome("static", 0.0), outcome("every-window", 0.0, 1.0, 1)], "static"),
    ],
)  # fmt: skip
def test_the_cheapest_of_the_good_and_the_watchful_of_the_cheapest(others, chosen):
    assert recommend(others, "mae").name == chosen


def test_it_says_what_it_would_have_cost_and_what_the_others_would_have():
    found = recommend(
        [outcome("static", 70.0), outcome("every-window", 31.0, 40.0, 30), outcome("treadle", 31.5, 10.0, 8)], "mae"
    )
    assert "within 2% of the least (31)" in found.because
    assert "mae 31.5, for 8 retrains and 10.0 CPU seconds" in found.because
    assert "every-window would have spent 40.0 in 30" in found.because
    alone = recommend([outcome("static", 1.0), outcome("every-window", 2.0, 9.0, 3)], "mae")
    assert "no other comes as near" in alone.because


def test_evidently_is_compared_and_never_recommended():
    same = [
        outcome("every-window", 30.0, 40.0, 30),
        outcome("evidently", 30.0, 40.0, 30),
        outcome("treadle", 33.0, 9.0),
    ]
    assert recommend(same, "mae").name == "every-window"


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("treadle", {"policy": "treadle"}),
        ("static", {"policy": "static"}),
        ("every-window", {"policy": "every-window", "every": "2w"}),
    ],
)
def test_what_is_recommended_can_be_written_into_a_project(name, setting):
    found = recommend([outcome(name, 1.0)], "mae")
    every = timedelta(weeks=2)
    assert found.setting(every) == setting
    assert found.is_followed(Retrain.model_validate(setting), every)
    other = {"policy": "static" if name != "static" else "treadle"}
    assert not found.is_followed(Retrain.model_validate(other), every)


def test_windows_of_another_length_are_another_policy():
    found = recommend([outcome("every-window", 1.0)], "mae")
    assert not found.is_followed(Retrain.model_validate({"policy": "every-window", "every": "1d"}), timedelta(days=2))
