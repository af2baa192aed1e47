"""A warm start disappoints when it falls below the champion's rehearsal, whatever the size of the numbers."""

import pytest

from treadle.learning.warm_start import Rehearsed, disappointment, skill

CHAMPION = Rehearsed("mae", low=18.0, high=22.0, baseline=80.0)  # 72 to 78 % of the way to no error


@pytest.mark.parametrize(
    ("value", "baseline", "disappoints"),
    [(20.0, 80.0, False), (22.0, 80.0, False), (30.0, 80.0, True), (40.0, 160.0, False), (60.0, 160.0, True)],
)
def test_a_larger_world_is_no_disappointment_a_smaller_skill_is(value, baseline, disappoints):
    said = disappointment(CHAMPION, value, baseline, higher_is_better=False)
    assert bool(said) == disappoints
    if said:
        assert "mae" in said
        assert "72% to 78%" in said


def test_higher_is_better_metrics_are_measured_towards_one():
    champion = Rehearsed("auc", low=0.88, high=0.92, baseline=0.5)
    assert disappointment(champion, 0.87, 0.5, higher_is_better=True)
    assert disappointment(champion, 0.89, 0.5, higher_is_better=True) is None
    assert skill(1.0, 0.5, higher_is_better=True) == 1


def test_a_baseline_without_error_says_nothing():
    assert disappointment(CHAMPION, 5.0, 0.0, higher_is_better=False) is None
