"""Slow streams: what a window of months knows without waiting for another one."""

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference, Window, judge
from treadle.drift.quality import Null, compare_losses, is_lost
from treadle.drift.stretches import settle_loss
from treadle.project import Watch
from treadle.tables.schema import Column

NOTHING = pd.DataFrame({"x": [0.0]})


def slow(seed, early=1.0, late=1.0, since=0.5, span=290, rows=3):
    """Three rows a day for nine months, after a reference of seven; its losses times `early`, and `late` for the last part."""
    rng = np.random.default_rng(seed)
    old = rng.gamma(2, 0.33, 210 * rows)
    when = np.repeat(np.arange(span), rows)
    losses = rng.gamma(2, 0.33, len(when)) * np.where(when < since * span, early, late)
    reference = Reference(NOTHING, True, old, np.repeat(np.arange(210), rows))
    return reference, Window(NOTHING, losses, when + 1000)


def settled(reference, window):
    """What decides of it, and whether one look is enough."""
    return settle_loss(compare_losses(reference, window, Null(reference, window, 0), 0), reference, window, 0, 50)


def test_a_loss_in_both_halves_of_a_long_window_is_believed_at_one_look():
    found = [settled(*slow(seed, 1.25, 1.25)) for seed in range(20)]
    assert sum(certain for _, certain in found) >= 17
    assert all(quality.labelled == 870 for quality, _ in found)


def test_quiet_months_are_quiet():
    assert not any(settled(*slow(seed))[1] for seed in range(60))


@pytest.mark.parametrize(("since", "rows"), [(0.5, 435), (0.75, 219)])
def test_what_began_lately_is_not_hidden_by_the_months_before(since, rows):
    found = [settled(*slow(seed, late=1.7, since=since)) for seed in range(20)]
    assert sum(certain for _, certain in found) >= 17
    lately = [quality for quality, certain in found if certain and quality.labelled < 870]
    assert lately
    assert {quality.labelled for quality in lately} <= {435, 219}
    assert all(quality.ratio >= 1.35 for quality in lately)
    assert any(quality.labelled == rows for quality in lately)


def test_one_bad_month_is_not_enough():
    """Three weeks of a loss that is large, in a quarter of seventy days: its other half does not show it."""
    assert not any(settled(*slow(seed, late=1.6, since=0.93))[1] for seed in range(20))


def test_weeks_that_follow_each_other_do_not_confirm_each_other():
    reference, window = slow(0, 1.25, 1.25, span=50, rows=24)
    quality, certain = settled(reference, window)
    assert is_lost(quality)
    assert not certain


def test_the_reason_names_the_rows_that_decided():
    reference, window = slow(1, late=1.7, since=0.75)
    rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300)})
    known = Reference(rows, True, reference.losses, reference.loss_days)
    found = judge(known, Window(rows, window.losses, window.loss_days), [Column(name="x", kind="number")], Watch())
    assert found.verdict == "quality-loss"
    assert found.reason.startswith(
        f"Mean loss {found.quality.window:.4g} on the newest {found.quality.labelled} labelled"
    )
    assert found.quality.labelled < 870
