"""The rule: quiet where nothing moved, loud where it did, and never confused by an odd window."""

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference, Window, judge
from treadle.drift.quality import bootstrap_means
from treadle.project import Watch
from treadle.tables.schema import Column

NUMBERS = [Column(name=f"x{i}", kind="number") for i in range(8)]
COLUMNS = [*NUMBERS, Column(name="c0", kind="category"), Column(name="c1", kind="category")]
NONE = np.empty(0), np.empty(0, dtype=np.int64)


def table(n, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 8)), columns=[c.name for c in NUMBERS])
    rows[["x0", "x1"]] += shift
    rows["c0"] = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    rows["c1"] = rng.choice(list("defghij"), n)
    return rows


def reference(n=5000, timed=False):
    return Reference(table(n, 1), timed, np.random.default_rng(2).exponential(1, 400), np.arange(400) // 24)


def verdict(rows, losses=NONE, ref=None, watch=None):
    return judge(ref or reference(), Window(rows, *losses), COLUMNS, watch or Watch())


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("rows", [100, 336, 1000])
def test_noise_is_quiet(rows, timed):
    ref = reference(2000, timed)
    loud = sum(verdict(table(rows, seed), ref=ref).verdict != "ok" for seed in range(100, 200))
    assert loud <= 2, f"{loud} of 100 quiet windows were called drift"


@pytest.mark.parametrize("timed", [False, True])
def test_half_a_sigma_in_two_of_ten_columns_is_found(timed):
    ref = reference(2000, timed)
    found = [verdict(table(300, seed, shift=0.5), ref=ref) for seed in range(200, 240)]
    assert sum(f.verdict == "drift" for f in found) >= 36
    assert {c.name for f in found for c in f.columns if c.drifted} >= {"x0", "x1"}


def test_daily_cycles_are_normal():
    """Rows that depend on each other differ from block to block; a window like any block is quiet."""
    hours = np.arange(24 * 90)
    wave = 2 * np.sin(hours / (24 * 9) * 2 * np.pi)
    rows = table(len(hours), 3)
    rows["x0"] += wave
    ref = Reference(rows[: 24 * 72].reset_index(drop=True), True, np.ones(10), np.zeros(10, dtype=np.int64))
    assert verdict(rows[24 * 72 : 24 * 78], ref=ref).verdict == "ok"


def test_new_category_and_missing_values_are_drift():
    assert verdict(table(300, 5).assign(c0="z")).verdict == "drift"
    assert verdict(table(300, 5).assign(x3=np.nan)).verdict == "drift"


def test_small_but_certain_is_not_drift():
    assert verdict(table(50_000, 6, shift=0.05), ref=reference(50_000)).verdict == "ok"


@pytest.mark.parametrize("n", [0, 1, 99])
def test_too_few_rows(n):
    assert verdict(table(n, 7)).verdict == "insufficient-data"


def test_odd_windows_are_invalid_not_a_crash():
    assert verdict(table(300, 8).drop(columns="x0")).verdict == "invalid"
    assert verdict(table(300, 8).assign(x0=np.inf)).verdict == "invalid"
    assert verdict(table(300, 8).assign(x0="text")).verdict == "invalid"
    assert verdict(table(300, 8).assign(x0=1.0)).verdict == "drift"


@pytest.mark.parametrize("rows", [pd.DataFrame(columns=[c.name for c in COLUMNS]), table(0, 1)])
def test_a_new_champion_without_predictions_lacks_data(rows):
    assert verdict(rows).verdict == "insufficient-data"


def test_a_column_of_nothing_has_moved_whatever_its_type():
    assert verdict(table(300, 8).assign(x0=None)).verdict == "drift"


def test_a_reference_that_does_not_fit_is_invalid():
    assert "holds no rows" in verdict(table(300, 8), ref=reference(0)).reason
    known = reference()
    lacking = Reference(known.rows.drop(columns="x0"), False, known.losses, known.loss_days)
    found = verdict(table(300, 8), ref=lacking)
    assert found.verdict == "invalid"
    assert "lacks the column 'x0'" in found.reason


def test_a_short_reference_is_said_to_be_one():
    found = verdict(table(336, 8), ref=reference(300, timed=True))
    assert found.verdict == "ok"
    assert "only 300 rows" in found.reason
    assert "only" not in verdict(table(336, 8), ref=reference(2000, timed=True)).reason


@pytest.mark.parametrize("absurd", [np.nan, np.inf])
def test_an_absurd_loss_does_not_hide_the_others(absurd):
    losses, days = np.random.default_rng(9).exponential(3, 200), np.arange(200) // 24
    losses[0] = absurd
    found = verdict(table(300, 10), (losses, days))
    assert found.verdict == "quality-loss"
    assert found.quality.labelled == 199
    losses[:101] = absurd
    assert verdict(table(300, 10), (losses, days)).verdict == "invalid"


def test_labels_without_anything_to_compare_them_with_leave_it_to_the_inputs():
    found = verdict(table(300, 10), (np.ones(200), np.arange(200)), ref=Reference(table(2000, 1), False, *NONE))
    assert found.verdict == "ok"
    assert "kept no losses" in found.reason


def test_quality_decides_where_there_are_labels():
    rng = np.random.default_rng(9)
    days = np.arange(200) // 24
    worse = judge(reference(), Window(table(300, 10), rng.exponential(2, 200), days), COLUMNS, Watch())
    assert worse.verdict == "quality-loss"
    same = judge(reference(), Window(table(300, 10, shift=1), rng.exponential(1, 200), days), COLUMNS, Watch())
    assert same.verdict == "ok"
    assert "inputs moved: x0, x1" in same.reason


OLD = np.random.default_rng(9).exponential(1, 200), np.arange(200) // 24
"""Losses of labelled rows that are all older than the window."""


def of_older_rows(rows, covered=0, **watch):
    return judge(reference(), Window(rows, *OLD, covered=covered), COLUMNS, Watch(window=300, **watch))


def test_labels_that_are_older_than_the_window_do_not_excuse_what_moved_since():
    found = of_older_rows(table(300, 10, shift=1))
    assert found.verdict == "drift"
    assert (
        "0 labels for these 300 predictions, 50 are needed for quality; on 200 older ones the loss was" in found.reason
    )
    assert found.quality.labelled == 200
    assert of_older_rows(table(300, 10, shift=1), covered=50).verdict == "ok"  # they speak of it
    assert of_older_rows(table(299, 10, shift=1)).verdict == "ok"  # a new champion that has not answered a window yet


def test_labels_that_are_older_than_the_window_are_said_to_be_where_nothing_moved():
    found = of_older_rows(table(300, 10))
    assert found.verdict == "ok"
    assert "on 200 labelled predictions, all older than this window" in found.reason


def test_labels_that_are_older_than_the_window_still_show_a_loss():
    worse = Window(table(300, 10), OLD[0] * 2, OLD[1], covered=0)
    assert judge(reference(), worse, COLUMNS, Watch(window=300)).verdict == "quality-loss"


def test_quality_is_quiet_on_noise():
    days, rows = np.arange(168) // 24, table(200, 1)
    loud = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ref = Reference(rows, True, rng.exponential(1, 2000), np.arange(2000) // 24)
        found = judge(ref, Window(rows, rng.exponential(1, 168), days), COLUMNS, Watch())
        loud += found.verdict == "quality-loss"
    assert loud <= 6


def test_means_of_few_days_vary_as_much_as_such_means_do():
    days = np.repeat(np.arange(4), 10)
    losses = np.repeat([1.0, 2.0, 4.0, 5.0], 10)
    means = bootstrap_means(losses, days, np.random.default_rng(0))
    assert np.std(means) == pytest.approx(np.std([1.0, 2.0, 4.0, 5.0], ddof=1) / 2, rel=0.05)
    assert np.mean(means) == pytest.approx(3.0, rel=0.02)
