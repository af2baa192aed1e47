"""The gate: a challenger against the champion on the same rows, by a paired bootstrap. It decides; it promotes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treadle.bootstrap import blocks_or_rows, drawn_means, needed_share, resamples
from treadle.problems import Problem

SAMPLES = 2000
FEWEST = 5  # rows; of fewer, all may be better by chance, and every resample says so


@dataclass(frozen=True)
class Gate:
    """What the comparison said.

    Attributes:
        promote: Whether the challenger passes.
        gain: How much better it is, in the metric's unit; negative if worse.
        interval: 95 % bootstrap interval of the gain.
        probability: Share of bootstrap samples in which the gain is above the bar.
        champion: The champion's metric on the rows.
        challenger: The challenger's.
        rows: Rows compared.
        reason: All of it in plain words.
    """

    promote: bool
    gain: float
    interval: tuple[float, float]
    probability: float
    champion: float
    challenger: float
    rows: int
    reason: str


def compare(
    y: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    problem: Problem,
    metric: str,
    *,
    min_gain: float = 0.0,
    confidence: float = 0.9,
    blocks: np.ndarray | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    versus: str = "the champion",
) -> Gate:
    """Compare two answers to the same rows.

    Args:
        y: Encoded target (n,).
        champion: The champion's answers, (n,) or (n, n_classes).
        challenger: The challenger's, the same shape.
        problem: Knows the metric.
        metric: Decides.
        min_gain: The challenger must be better by more than this, in the metric's unit.
        confidence: How sure that must be; of few rows or blocks, more than this share of the samples must agree.
        blocks: A label a row (n,), such as its day: rows that depend on each other are drawn together; rows are drawn where
            there are fewer than four.
        seed: Seed of the bootstrap.
        samples: Bootstrap samples.
        versus: What the other side is called in the reason.

    Returns:
        The verdict and its figures; the same input gives the same gate.

    Source: paired bootstrap, B. Efron and R. Tibshirani (1993), chapter 16; over blocks, H. Künsch (1989).
    """
    measure = problem.metrics[metric]
    if why := _incomparable(y, champion, challenger):
        nan = float("nan")
        return Gate(False, nan, (nan, nan), 0.0, nan, nan, len(y), f"The challenger is not compared: {why}.")
    old, new = measure.score(y, champion), measure.score(y, challenger)
    gain, blocks = measure.gain(old, new), blocks_or_rows(blocks)
    needed = needed_share(confidence, len(y) if blocks is None else len(np.unique(blocks)))
    drawn = _drawn_gains(y, champion, challenger, problem, metric, blocks, np.random.default_rng(seed), samples)
    drawn = drawn[np.isfinite(drawn)]
    known = len(drawn) > 0 and bool(np.isfinite(gain))
    probability = float(np.mean(drawn > min_gain)) if known else 0.0
    low, high = (float(v) for v in np.percentile(drawn, [2.5, 97.5])) if known else (float("nan"), float("nan"))
    passes = bool(known and gain > min_gain and probability >= needed)
    reason = _say(metric, old, new, gain, (low, high), probability, needed, min_gain, len(y), passes, versus)
    return Gate(passes, gain, (low, high), probability, old, new, len(y), reason)


def _drawn_gains(
    y: np.ndarray, champion: np.ndarray, challenger: np.ndarray, problem: Problem, metric: str,
    blocks: np.ndarray | None, rng: np.random.Generator, samples: int,
) -> np.ndarray:  # fmt: skip
    """The gain in each bootstrap sample (samples,); by the losses' block sums where the metric is one of their mean."""
    measure = problem.metrics[metric]
    if measure.of_mean is not None:
        losses = np.column_stack([problem.row_losses(metric, y, answer) for answer in (champion, challenger)])
        old, new = drawn_means(losses, blocks, rng, samples).T
        return measure.gain(measure.of_mean(old), measure.of_mean(new))
    return np.array(
        [
            measure.gain(measure.score(y[rows], champion[rows]), measure.score(y[rows], challenger[rows]))
            for rows in resamples(len(y), blocks, rng, samples)
        ]
    )


def _incomparable(y: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> str | None:
    """Why the answers must not be scored; accuracy and F1 would take NaN for the first class."""
    if len(y) < FEWEST:
        return f"there are {len(y)} rows that neither has learned from, at least {FEWEST} are needed"
    for name, answer in (("challenger", challenger), ("other", champion)):
        wrong = len(answer) - int(np.isfinite(answer).reshape(len(answer), -1).all(axis=1).sum())
        if wrong:
            return f"the {name}'s answer is not a number on {wrong:,} of {len(y):,} rows"
    return None


def _say(
    metric: str, old: float, new: float, gain: float, interval: tuple[float, float], probability: float,
    needed: float, min_gain: float, rows: int, passes: bool, versus: str,
) -> str:  # fmt: skip
    better = "the same" if gain == 0 else f"{abs(gain):.3g} {'better' if gain > 0 else 'worse'}"
    bar = f" by more than {min_gain:g}" if min_gain else ""
    return (
        f"On {rows:,} rows that neither has learned from, the challenger has {metric} {new:.4g} against {old:.4g} of {versus}: "
        f"{better} (95 % interval of the gain {interval[0]:.3g} to {interval[1]:.3g}); better{bar} in "
        f"{probability:.1%} of the resamples, {needed:.1%} are needed: {'passes' if passes else 'does not pass'}."
    )
