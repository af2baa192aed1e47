"""What labels object to in a duel: a challenger for whom one caller's alone speak. It has learned that caller's lies, or its world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from treadle.bootstrap import block_draws, block_sums, needed_share, unit_codes
from treadle.project import Promote
from treadle.promotion.bout import Bout
from treadle.promotion.gate import Gate

LEFT = 0.25  # of the gain must be left without the labels of one caller
GIVER_SHARE = (0.05, 0.5)  # a caller with fewer of the labels moves little; one with more is who labels here
QUITE_SURE = 0.999  # that a caller's labels speak for the challenger more than the others' do
SAMPLES = 4000


def hangs_on_one(bout: Bout, gate: Gate, rules: Promote, how: dict[str, Any]) -> str | None:
    """The labels object if, without those of one caller, most of the gain is gone.

    A gain that is there in all rows stays much the same without some of them, since it is a mean.
    """
    for name, mine in _callers(bout):
        gain = bout.of(~mine).gain(how["problem"], how["metric"])
        if np.isfinite(gain) and gain <= max(rules.min_gain, LEFT * gate.gain):
            return (
                f"without the {mine.sum():,} labels of the key {name} it is {abs(gain):.3g} "
                f"{'worse' if gain < 0 else 'better'}, not {gate.gain:.3g} better: the gain hangs on one caller."
            )
    return None


def believes_one(bout: Bout, how: dict[str, Any]) -> str | None:
    """The labels object if, by the problem's own loss, one caller's speak for the challenger and all others' against it.

    Accuracy, AUC and F1 see only which class, or which row, is the likelier one. Who has learned a caller's lies about any rows
    keeps that order, and its probabilities are wrong all the same, which a proper score sees. That the caller's rows differ so
    from the others' must be no luck.

    Source: T. Gneiting and A. Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation (2007).
    """
    problem, metric = how["problem"], how["problem"].default_metric
    old, new = (problem.row_losses(metric, bout.y, answer) for answer in (bout.champion, bout.challenger))
    gains = old - new
    if not gains.mean() > 0:
        return None
    for name, mine in _callers(bout):
        if gains[~mine].mean() < 0 and _are_apart(gains, mine, bout.blocks, how["seed"]):
            return (
                f"by the loss of {metric} it is {gains[mine].mean():.3g} better on the {mine.sum():,} labels of the key {name}, and "
                f"{-gains[~mine].mean():.3g} worse on all others: it believes what one caller says."
            )
    return None


def _are_apart(gains: np.ndarray, mine: np.ndarray, blocks: np.ndarray | None, seed: int) -> bool:
    """Whether the mean gain of some rows is surely above that of the others; rows of one block are drawn together."""
    parts = np.column_stack([mine * gains, mine, ~mine * gains, ~mine])
    sums = block_sums(unit_codes(len(gains), blocks), parts)
    gain, rows, others_gain, others = (block_draws(len(sums), np.random.default_rng(seed), SAMPLES) @ sums).T
    return bool(np.mean(gain * others > others_gain * rows) >= min(needed_share(QUITE_SURE, len(sums)), 1.0))


def _callers(bout: Bout) -> Iterator[tuple[str, np.ndarray]]:
    """Each caller who gave enough of the labels to matter and not most, and which rows it labelled (n,)."""
    if bout.givers is None:
        return
    names, counts = np.unique(bout.givers[bout.givers != ""], return_counts=True)
    least, most = (share * len(bout.y) for share in GIVER_SHARE)
    for name, count in zip(names, counts, strict=True):
        if least <= count <= most:
            yield str(name), bout.givers == name
