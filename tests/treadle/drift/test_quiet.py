"""How often the rule for losses errs is counted on quiet stretches of the reference, and said beside an alarm."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference, Window, judge
from treadle.drift.quality import Null, compare_losses
from treadle.drift.quiet import measured
from treadle.project import Watch
from treadle.tables.schema import Column


def seen(seed, days=60, odd=(), factor=2.0, timed=True, span=7):
    """Sixty days of twenty rows, of which some are `odd`, and a week of twice the loss."""
    rng = np.random.default_rng(seed)
    when = np.repeat(np.arange(days), 20)
    losses = rng.gamma(2, 0.5, len(when)) * np.where(np.isin(when, odd), 4.0, 1.0)
    rows = pd.DataFrame({"x": rng.normal(size=len(when))})
    reference = Reference(rows, timed, losses, when if timed else np.full(len(when), -1))
    now = np.repeat(np.arange(span), 20)
    labelled = pd.DataFrame({"x": rng.normal(size=len(now))})
    lost = rng.gamma(2, 0.5, len(now)) * factor
    return reference, Window(labelled, lost, now + 1000 if timed else np.full(len(now), -1), labelled=labelled)


def counted(reference, window):
    quality = measured(compare_losses(reference, window, Null(reference, window, 0), 0), reference, window, 0)
    return quality.quiet_alarms, quality.quiet_stretches


@pytest.mark.parametrize("timed", [True, False])
def test_a_quiet_reference_has_no_alarms(timed):
    found = [counted(*seen(seed, timed=timed)) for seed in range(10)]
    assert {stretches for _, stretches in found} == {8}
    assert sum(alarms for alarms, _ in found) <= 2


def test_a_bad_week_in_the_reference_is_an_alarm_of_the_rule():
    assert counted(*seen(0, odd=range(14, 21))) == (1, 8)


def test_a_reference_without_three_stretches_tells_nothing():
    assert counted(*seen(0, days=20)) == (0, 0)


def test_many_stretches_are_tried_in_part():
    assert counted(*seen(0, days=300))[1] == 10


def test_the_rate_stands_beside_an_alarm_and_only_there():
    reference, window = seen(1)
    columns, watch = [Column(name="x", kind="number")], Watch(min_rows=30, min_labelled=30)
    lost = judge(reference, window, columns, watch)
    assert lost.verdict == "quality-loss"
    alarms, stretches = counted(reference, window)
    assert f"Quiet stretches of the reference that this rule calls lost: {alarms} of {stretches}." in lost.reason
    quiet = judge(reference, replace(window, losses=window.losses / 2), columns, watch)
    assert quiet.verdict == "ok"
    assert (quiet.quality.quiet_stretches, "Quiet stretches" in quiet.reason) == (0, False)
