"""Probation: labels that say worse roll back, chance alone seldom does, however often one looks."""

import numpy as np
import pytest

from treadle.promotion.probation import look_back

HOURS = 24


def losses(days, worse, seed):
    """Hourly losses of both on the same rows: days are harder or easier for both."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), HOURS)
    hard = np.exp(rng.normal(0, 0.3, days))[day]
    shared, own = rng.normal(0, 1, days * HOURS), rng.normal(0, 1, (2, days * HOURS))
    now, then = (np.abs(hard * (np.sqrt(0.7) * shared + np.sqrt(0.3) * part)) for part in own)
    return now * (1 + worse), then, day


def look(now, then, days, **options):
    return look_back(7, 6, now, then, days, **({"first": 50, "most": 1000, "over": False} | options))


def ends(worse, seed, days=42, every=24):
    """How a probation ends that is looked at again and again."""
    now, then, day = losses(days, worse, seed)
    for n in range(every, len(now) + 1, every):
        found = look(now[:n], then[:n], day[:n])
        if found.state != "running":
            return found.state
    return "running"


def test_a_champion_that_is_much_worse_is_rolled_back():
    assert [ends(0.5, seed) for seed in range(20)] == ["failed"] * 20


def test_an_equal_champion_stands_its_probation_though_one_looks_forty_times():
    states = [ends(0.0, seed) for seed in range(40)]
    assert states.count("failed") <= 6  # 4.7 % in 600 worlds; docs/learning.md
    assert states.count("running") == 0


def test_the_reason_has_the_figures():
    now, then, day = losses(10, 0.5, 1)
    found = look(now, then, day)
    assert found.state == "failed"
    assert f"{found.loss:.4g}" in found.reason
    assert f"{found.loss_before:.4g}" in found.reason
    assert "it is worse" in found.reason
    assert found.compared == 200
    assert found.labelled == 240


def test_a_handful_of_days_decides_nothing():
    now, then, day = losses(3, 5.0, 2)
    found = look(now, then, day)
    assert found.state == "running"
    assert "4 days are needed" in found.reason


def test_rows_that_do_not_depend_on_each_other_need_no_days():
    now, then, _ = losses(3, 5.0, 2)
    assert look(now, then, None).state == "failed"


@pytest.mark.parametrize(("over", "state"), [(True, "passed"), (False, "running")])
def test_time_ends_it_even_without_labels(over, state):
    assert look(np.empty(0), np.empty(0), np.empty(0, dtype=int), over=over).state == state


def test_so_many_labels_end_it():
    now, then, day = losses(42, -0.1, 3)
    assert look(now, then, day).state == "passed"
    assert look(now[:900], then[:900], day[:900]).state == "running"


def test_losses_that_are_not_numbers_are_left_out():
    now, then, day = losses(10, 0.5, 1)
    now[::2] = np.nan
    assert look(now, then, day).labelled == 120
