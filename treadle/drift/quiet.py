"""How often the rule for losses errs, measured where nothing happened: on stretches of the reference itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from treadle.drift.quality import Null, compare_losses, is_lost
from treadle.drift.records import Quality, Reference, Window

FEWEST = 3  # stretches: of fewer, what is left is no longer what was normal
MOST = 10  # each costs as much as the look itself


def measured(quality: Quality, reference: Reference, window: Window, seed: int) -> Quality:
    """The same with what the rule says of quiet stretches, each compared with the rest of the reference.

    Args:
        quality: Of the window.
        reference: What was normal.
        window: What was compared with it. A stretch has as many labelled days, or rows where there is no time.
        seed: Of the bootstrap.

    Returns:
        `quiet_stretches` is 0 where the reference has no three of that length.
    """
    alarms = [_is_alarm(reference, window, rows, seed) for rows in _stretches(reference, window, seed)]
    return replace(quality, quiet_stretches=len(alarms), quiet_alarms=sum(alarms))


def _stretches(reference: Reference, window: Window, seed: int) -> Iterator[np.ndarray]:
    """Stretches that share no row, as indexes of rows of the reference; evenly chosen where there are many."""
    losses = len(reference.losses)
    if reference.timed:
        units = reference.loss_days
        length = len(np.unique(window.loss_days))
    else:
        units = np.random.default_rng(seed).permutation(losses)
        length = len(window.losses)
    parts = np.unique(units)
    begins = np.arange(0, len(parts) - length + 1, length)
    if len(begins) < FEWEST:
        return
    for begin in begins[np.linspace(0, len(begins) - 1, min(MOST, len(begins))).astype(int)]:
        rows = np.flatnonzero(np.isin(units, parts[begin : begin + length]))
        yield rows[np.linspace(0, len(rows) - 1, min(len(rows), len(window.losses))).astype(int)]


def _is_alarm(reference: Reference, window: Window, rows: np.ndarray, seed: int) -> bool:
    losses, days = reference.losses, reference.loss_days
    rest = ~np.isin(days, days[rows]) if reference.timed else ~np.isin(np.arange(len(losses)), rows)
    others = replace(reference, losses=losses[rest], loss_days=days[rest], judged=None)
    quiet = replace(window, losses=losses[rows], loss_days=days[rows], labelled=None, baseline=None)
    return is_lost(compare_losses(others, quiet, Null(others, quiet, seed), seed))
