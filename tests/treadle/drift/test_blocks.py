"""Blocks of a reference tell how much a quiet window may differ: hours that depend on each other differ more."""

import numpy as np
import pytest

from treadle.drift.blocks import Layout, usual
from treadle.drift.cells import number_cells
from treadle.drift.comparison import Counted, compare_values


def compared(values, window, timed=True):
    layout = Layout.of(len(values), window, timed=timed)
    return compare_values("input", "x", Counted.of(number_cells(values, values[:window]), layout), 0.0, "")


def walk(n, memory, seed):
    rng = np.random.default_rng(seed)
    values, noise = np.zeros(n), rng.normal(size=n)
    for i in range(1, n):
        values[i] = memory * values[i - 1] + noise[i]
    return values


def test_independent_rows_are_hardly_inflated():
    found = [compared(walk(5000, 0.0, seed), 300).usual.inflation for seed in range(20)]
    assert np.mean(found) < 1.3


def test_the_inflation_is_that_of_the_process():
    """A first-order autoregression of 0.8 inflates the variance of its mean by (1 + 0.8) / (1 - 0.8) = 9."""
    found = [compared(walk(5000, 0.8, seed), 300).usual.inflation for seed in range(20)]
    assert 5 < np.mean(found) < 10


def test_order_means_nothing_where_there_is_no_time():
    found = compared(walk(3000, 0.9, 1), 300, timed=False).usual
    assert (found.inflation, found.worst) == (1.0, 0.0)


def test_a_block_is_judged_by_those_that_do_not_overlap_it():
    """One odd stretch is the worst block for all others, and no block at all for itself."""
    values = np.random.default_rng(2).normal(size=4000)
    values[2000:2200] += 3
    comparison = compared(values, 200)
    inside = int(comparison.usual.distances.argmax())
    without = comparison.usual.worst_without
    assert without[inside] < 0.7 * comparison.usual.worst
    assert comparison.false_alarms(0.01)[inside]
    assert without.max() == pytest.approx(comparison.usual.worst)


@pytest.mark.parametrize(("rows", "window"), [(1, 30), (2, 30), (3, 1), (50, 30), (5000, 1), (5000, 100_000)])
def test_every_size_has_blocks(rows, window):
    layout = Layout.of(rows, window, timed=True)
    assert 1 <= layout.length <= layout.chunks
    assert layout.size <= max(1, rows)
    counts = layout.counts(np.zeros(rows, dtype=np.int64), 3)
    assert counts.sum() == rows
    assert len(layout.sums(counts, layout.length)) == layout.chunks - layout.length + 1
    found = usual(layout, counts, np.zeros(layout.chunks - layout.length + 1), ordered=False)
    assert found.inflation == 1.0


@pytest.mark.parametrize(
    ("rows", "window", "timed"),
    [(5000, 300, True), (5000, 300, False), (2000, 1000, True), (12, 30, True), (2, 30, False)],
)
def test_a_third_of_the_rows_chooses_and_the_others_have_blocks(rows, window, timed):
    layout = Layout.of(rows, window, timed=timed)
    choosing, blocks = layout.parted()
    assert choosing.sum() + blocks.rows == rows
    assert abs(choosing.sum() - rows / 3) <= max(1, rows / 9)
    assert blocks.timed == timed
    assert blocks.size <= max(1, round(layout.size))


def test_hours_that_hang_together_stay_together_where_a_part_is_compared():
    """Torn into runs of a few rows, the same hours would look half as inflated, and quiet windows like drift."""

    def inflation(keep):
        found = []
        for seed in range(10):
            values = walk(6000, 0.9, seed)
            kept = values[keep(Layout.of(6000, 300, timed=True))]
            found.append(compared(kept, 300).usual.inflation)
        return np.mean(found)

    whole, parted = inflation(lambda _: slice(None)), inflation(lambda layout: ~layout.parted()[0])
    torn = inflation(lambda _: np.arange(6000) // 16 % 2 == 0)
    assert parted > 0.85 * whole
    assert torn < 0.8 * whole
