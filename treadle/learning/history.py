"""What a retrain learns from: all history, a sliding window of it, or all of it weighted by age.

Chosen by back-testing on the project's own past instead of by guess. Pure functions of times and losses: how a model is
fitted is handed in, so that a replay of the past can choose in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from treadle.durations import format_duration, parse_duration

FOLDS = 5
FEWEST_FOLDS = 3  # of fewer, chance has the say
RACED = 2  # folds after which what is behind `all` runs no further
PARTS = (2, 4, 8)  # windows and half-lives tried are these parts of the history
FEWEST_ROWS = 100  # a shorter window is not tried
MOST_LEARNED = 20_000  # rows of one fit; of more, every second, third … is taken, in all candidates alike
MOST_JUDGED = 2000  # rows of one fold
MARGIN = 0.05  # share of the loss by which `all` must be beaten
AGAIN = 0.5  # share by which the history must have grown before it is tested again
DAY = timedelta(days=1)
FASTER = 1.5  # an update forgets so many times faster than what it goes on from
LIFE = 0.25  # of what a history without a half-life covers: its half-life, for an update

Fit = Callable[[np.ndarray, "np.ndarray | None", np.ndarray], np.ndarray]
"""Takes rows to learn from (n,), their weights (n,) or `None`, and rows to judge (m,), all as positions; returns the
losses of the judged rows (m,)."""


@dataclass(frozen=True)
class History:
    """How much of the past is learned from.

    Attributes:
        window: Only rows so young, counted from the newest; `None` is all.
        half_life: A row so much older than the newest counts half as much; `None` counts all alike.
    """

    window: timedelta | None = None
    half_life: timedelta | None = None

    @property
    def name(self) -> str:
        """As it is written and shown.

        >>> History(window=timedelta(days=84)).name, History(half_life=timedelta(days=28)).name, History().name
        ('12w', 'weighted 4w', 'all')
        """
        if self.half_life is not None:
            return f"weighted {format_duration(self.half_life)}"
        return "all" if self.window is None else format_duration(self.window)

    @classmethod
    def of(cls, name: str) -> History:
        """The history of that name.

        >>> History.of("weighted 4w") == History(half_life=timedelta(weeks=4))
        True
        """
        if name == "all":
            return cls()
        if name.startswith("weighted "):
            return cls(half_life=parse_duration(name.removeprefix("weighted ")))
        return cls(window=parse_duration(name))

    def within(self, times: np.ndarray) -> np.ndarray:
        """Which rows are young enough (n,), by their times (n,), datetime64; a row without a time is the oldest."""
        if self.window is None:
            return np.ones(len(times), dtype=bool)
        known = ~np.isnat(times)
        newest = times[known].max() if known.any() else np.datetime64("NaT")
        return known & (times >= newest - np.timedelta64(self.window))

    def weights(self, times: np.ndarray) -> np.ndarray | None:
        """What each row counts (n,), 1 on average; `None` when all count alike.

        Exponential forgetting, as in R. G. Brown (1956): half as much for each half-life of age.
        """
        if self.half_life is None or not len(times):
            return None
        known = ~np.isnat(times)
        if not known.any():
            return None
        filled = np.where(known, times, times[known].min())
        age = (filled.max() - filled) / np.timedelta64(self.half_life)
        counts = np.power(0.5, age.astype(np.float64))
        return counts / counts.mean()

    def newest(self, times: np.ndarray) -> np.ndarray:
        """Which rows an update learns from, positions (m,) in time order: all of the newest, ever fewer of the older.

        A row is half as likely to be among them for each half-life of its age, which is two thirds of this history's, or a sixth
        of all that it covers; they are drawn evenly instead of by chance. Rows without a time are not among them.

        Args:
            times: Times of the rows that this history learns from (n,), datetime64.

        Source: biased reservoir sampling, C. Aggarwal, VLDB (2006), drawn systematically.
        """
        known = np.flatnonzero(~np.isnat(times))
        if not len(known):
            return known
        order = known[np.argsort(times[known], kind="stable")]
        half_life = (self.half_life or LIFE * _span(times[order])) / FASTER
        counts = History(half_life=max(half_life, timedelta(seconds=1))).weights(times[order])
        reached = np.floor(np.cumsum((counts / counts.max())[::-1]) + 0.5)  # type: ignore[operator]
        return order[np.diff(reached, prepend=0.0)[::-1] > 0]


@dataclass(frozen=True)
class Tried:
    """One candidate of a back-test: its mean loss over the folds that it ran, and the loss of each (folds,), newest first."""

    name: str
    error: float
    folds: tuple[float, ...]


@dataclass(frozen=True)
class Choice:
    """What was chosen, what was tried, and why, in plain words.

    Attributes:
        since: The oldest and the newest row that were tested on; `None` when nothing was tested.
    """

    history: History
    tried: tuple[Tried, ...]
    why: str
    since: tuple[str, str] | None = None

    def figures(self) -> dict[str, Any]:
        """It as plain data: `chosen`, `tried` [{name, error, folds}], `why`, `since`."""
        tried = [{"name": t.name, "error": t.error, "folds": list(t.folds)} for t in self.tried]
        return {"chosen": self.history.name, "tried": tried, "why": self.why, "since": self.since}

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Choice:
        """Read what `figures` gave."""
        tried = tuple(Tried(t["name"], t["error"], tuple(t["folds"])) for t in figures["tried"])
        since = figures.get("since")
        return cls(History.of(figures["chosen"]), tried, figures["why"], tuple(since) if since else None)

    def still_holds(self, times: np.ndarray) -> bool:
        """Whether too little is new since the test, among rows with these times (n,), to test again."""
        if self.since is None or not len(times):
            return False
        oldest, newest = (np.datetime64(moment) for moment in self.since)
        return bool(times.max() - newest < AGAIN * (newest - oldest))


def candidates(times: np.ndarray, rule: Literal["auto", "weighted"] = "auto") -> tuple[History, ...]:
    """What is worth trying on a history with these times (n,): a half, a quarter and an eighth of it; `all` first.

    Args:
        times: Times of the rows, datetime64, without gaps.
        rule: `weighted` leaves the windows out.
    """
    span, newest = _span(times), times.max()
    parts = [max(DAY, DAY * round(span / part / DAY)) for part in PARTS]
    windows = [
        History(window=part)
        for part in dict.fromkeys(parts)
        if part < span and int((times >= newest - np.timedelta64(part)).sum()) >= FEWEST_ROWS
    ]
    weighted = [History(half_life=part) for part in dict.fromkeys(parts) if part < span]
    return (History(), *(windows if rule == "auto" else ()), *weighted)


def choose(
    times: np.ndarray, fit: Fit, *, rule: Literal["auto", "weighted"] = "auto", horizon: timedelta, seconds: float
) -> Choice:
    """Back-test the candidates over rolling origins, newest first, and take the simplest that is as good as the best.

    Each fold learns from what is older than its origin and is judged on the horizon that follows it. Another history
    than `all` is taken only if its mean loss is lower by more than MARGIN and by more than one standard error of the
    paired differences: where it makes no difference, more data is the safer choice. So a candidate that is behind `all`
    after RACED folds or later has lost and runs no further, and when `all` alone is left, FEWEST_FOLDS are enough.

    Args:
        times: Times of the rows (n,), datetime64, without gaps.
        fit: Fits a cheap form of the champion's recipe and judges it.
        rule: What is tried.
        horizon: How long a fold judges: about the time between two retrains. At most a tenth of the history.
        seconds: CPU seconds that may be spent; a fold that would exceed them is not begun.

    Sources: rolling origin, L. Tashman, Int. J. Forecasting 16 (2000); one standard error, L. Breiman et al.,
        Classification and Regression Trees (1984), section 3.4.3; racing, O. Maron and A. Moore, Hoeffding Races (1994).
    """
    if len(times) < 2 * FEWEST_ROWS:
        return Choice(History(), (), f"All history: {len(times):,} rows are too few to test anything else.")
    order = np.argsort(times, kind="stable")
    tried = candidates(times, rule)
    horizon = max(min(horizon, _span(times) / (2 * FOLDS)), timedelta(seconds=1))
    began, errors, running = time.process_time(), np.empty((0, len(tried))), np.ones(len(tried), dtype=bool)
    for number in range(FOLDS):
        fold = _fold(times, order, horizon, number)
        if fold is None:
            continue
        spent = time.process_time() - began
        if len(errors) and spent + spent / len(errors) > seconds:
            break
        tries = zip(tried, running, strict=True)
        row = [_error(fit, times, history, *fold) if runs else np.nan for history, runs in tries]
        errors = np.vstack([errors, row])
        running = _running(errors, running)
        if running.sum() == 1 and len(errors) >= FEWEST_FOLDS:
            break
    choice = _pick(tried, errors, running, time.process_time() - began)
    return replace(choice, since=(str(times.min()), str(times.max()))) if choice.tried else choice


def _span(times: np.ndarray) -> timedelta:
    return timedelta(seconds=float((times.max() - times.min()) / np.timedelta64(1, "s")))


def _fold(
    times: np.ndarray, order: np.ndarray, horizon: timedelta, number: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions that learn and positions that judge, counted back from the newest; `None` where there are too few."""
    end = times.max() - np.timedelta64(horizon * number)
    origin = end - np.timedelta64(horizon)
    when = times[order]
    learn, judge = order[when <= origin], order[(when > origin) & (when <= end)]
    if len(learn) < FEWEST_ROWS or not len(judge):
        return None
    return learn, _thin(judge, MOST_JUDGED)


def _thin(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[:: max(1, -(-len(rows) // most))]


def _error(fit: Fit, times: np.ndarray, history: History, learn: np.ndarray, judge: np.ndarray) -> float:
    learn = _thin(learn, MOST_LEARNED)
    learn = learn[history.within(times[learn])]
    losses = fit(learn, history.weights(times[learn]), judge)
    return float(np.mean(losses)) if len(losses) else float("nan")


def _running(errors: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Which candidates run on (candidates,), by the errors so far (folds, candidates); the first is `all`, which always does."""
    folds = _whole(errors, running)
    if len(folds) < RACED:
        return running
    ahead = folds.mean(axis=0) < folds[:, 0].mean()  # NaN, of what runs no more, is not
    ahead[0] = True
    return running & ahead


def _whole(errors: np.ndarray, running: np.ndarray) -> np.ndarray:
    """The folds that every candidate could learn that runs still."""
    return errors[np.isfinite(errors[:, running]).all(axis=1)]


def _pick(tried: Sequence[History], errors: np.ndarray, running: np.ndarray, cpu_s: float) -> Choice:
    """Decide by the errors (folds, candidates) of those that ran to the end; the first candidate is `all`."""
    folds = _whole(errors, running)
    if len(folds) < FEWEST_FOLDS:
        said = f"All history: the back-test came to {len(folds)} folds in {cpu_s:.0f} CPU seconds, {FEWEST_FOLDS} are needed."
        return Choice(History(), (), said)
    ran = [folds[np.isfinite(folds[:, i]), i] for i in range(len(tried))]
    shown = tuple(
        Tried(history.name, float(of.mean()), tuple(map(float, of))) for history, of in zip(tried, ran, strict=True)
    )
    folds, left = folds[:, running], [history for history, runs in zip(tried, running, strict=True) if runs]
    best = int(np.argmin(folds.mean(axis=0)))
    gains = folds[:, 0] - folds[:, best]
    whole, gain = float(folds[:, 0].mean()), float(gains.mean())
    error_of_gain = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    say = f"over {len(folds)} past stretches ({cpu_s:.1f} CPU seconds)"
    if best == 0:
        return Choice(History(), shown, f"All history had the lowest mean loss, {whole:.4g} {say}.")
    name, share = left[best].name, gain / max(whole, 1e-12)
    if gain <= max(MARGIN * whole, error_of_gain):
        why = (
            f"All history ({whole:.4g}): {name} was better by {share:.1%} {say}, which is within "
            f"{'the margin' if gain <= MARGIN * whole else 'one standard error'}."
        )
        return Choice(History(), shown, why)
    return Choice(
        left[best],
        shown,
        f"{name} had the lowest mean loss, {whole - gain:.4g} against {whole:.4g} of all history {say}.",
    )
