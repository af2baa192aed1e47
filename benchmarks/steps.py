"""What a key that lies does to the steps of a followed stream, measured: `python -m benchmarks.steps [TRIALS [LEARNER or WAY …]]`.

A step answers without a duel. A version that won its duel knows a thousand rows; then three keys give labels, and steps follow as
they grow. One key turns some of its labels round. What sets labels aside, leaves keys out of a step and judges the steps together are the
platform's functions; the learner is a plain linear one of the newest rows. Each world is lived through three times: without the lie, with
it, and with it but without doubt (labels set aside and no more). True labels at its end compare them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from treadle.project import Retrain
from treadle.retraining.steps import Followed, begun, judge_steps
from treadle.retraining.suspicion import DOUBT, PAST_WINDOWS, Key, Losses, suspects

BASE, DAYS, A_DAY, LOOKS_A_DAY = 1000, 21, 48, 4
GROWTH, FIRST_LOOK, HISTORY = 0.025, 50, 500
KINDS = 0.5  # share of the rows that are of the kind
LEARNERS = ("regression", "classification")
LIAR = "k-bad"
RULES = Retrain(follow=GROWTH)


@dataclass(frozen=True)
class Way:
    """How one key lies.

    Attributes:
        share: Its share of the labels, by the part of the stream that is over (0 to 1).
        flips: Share of its own labels that it turns round.
        one_kind: Whether all its rows are of one kind, which others have too.
        moves: How much the truth moves in the time, 1 is much.
        noise: Above 1 the best model is often wrong.
        hard: How much noisier the key's own rows are, without a lie.
    """

    share: Callable[[float], float]
    flips: float
    one_kind: bool = False
    moves: float = 0.0
    noise: float = 1.0
    hard: float = 1.0


def _always(share: float) -> Callable[[float], float]:
    return lambda _part: share


WAYS: dict[str, Way] = {
    "nobody lies": Way(_always(0.3), 0.0),
    "nobody lies, the world moves": Way(_always(0.3), 0.0, moves=1.0),
    "nobody lies, one key's rows are twice as noisy": Way(_always(0.3), 0.0, hard=2.0),
    "20 %, all flipped, from one day on": Way(lambda part: 0.2 if part > 1 / 3 else 0.0, 1.0),
    "20 %, all flipped, all of one kind": Way(_always(0.2), 1.0, one_kind=True),
    "0 rising to 40 %, all flipped": Way(lambda part: 0.4 * part, 1.0),
    "half, 40 % of them flipped": Way(_always(0.5), 0.4),
    "half, 40 % of them flipped, the world moves": Way(_always(0.5), 0.4, moves=1.0),
    "60 %, a third of them flipped": Way(_always(0.6), 1 / 3),
    "40 %, 15 % of them flipped": Way(_always(0.4), 0.15),
    "20 %, all flipped, in a world hard to tell": Way(_always(0.2), 1.0, noise=4.0),
}
"""What the key gives of all labels, and what it turns round."""


@dataclass(frozen=True)
class World:
    """Rows in time order: what a model sees, the truth, what was said, by whom.

    Attributes:
        X: (n, columns).
        y: The truth (n,); 0 or 1 for classes.
        said: The labels (n,).
        givers: Who gave them (n,).
        days: (n,); the table's rows are of day -1.
        fresh: Rows of the end and their truth, which nobody learns from.
    """

    X: np.ndarray
    y: np.ndarray
    said: np.ndarray
    givers: np.ndarray
    days: np.ndarray
    fresh: tuple[np.ndarray, np.ndarray]

    @property
    def lies(self) -> np.ndarray:
        """Which labels were turned round (n,)."""
        return self.said != self.y


def world_of(way: Way, learner: str, seed: int) -> World:
    """The first rows are the table's; the others are the stream's."""
    rng = np.random.default_rng(seed)
    stream, fresh = DAYS * A_DAY, 2000
    n = BASE + stream + fresh
    part = np.concatenate([np.zeros(BASE), np.arange(stream) / stream, np.ones(fresh)])
    days = np.concatenate([np.full(BASE, -1), np.arange(stream) // A_DAY, np.full(fresh, DAYS)])
    kind = rng.random(n) < KINDS
    wanted = np.array([way.share(p) for p in part]) / (KINDS if way.one_kind else 1)
    mine = (rng.random(n) < wanted) & (days >= 0) & (kind if way.one_kind else True)
    x = rng.normal(0, 1, (n, 3))
    signal = x @ [1.0, 0.7, -0.5] + way.moves * part * (x @ [-0.8, 0.4, 0.6]) + 0.5 * kind
    noise = way.noise * np.exp(rng.normal(0, 0.2, DAYS + 2))[days + 1] * np.where(mine, way.hard, 1.0)
    if learner == "regression":
        y = signal + 0.7 * noise * rng.normal(0, 1, n)
        turned = 2 * np.mean(y[:BASE]) - y
    else:
        y = (rng.random(n) < 1 / (1 + np.exp(-2.5 * signal / noise))).astype(float)
        turned = 1 - y
    said = np.where(mine & (rng.random(n) < way.flips), turned, y)
    givers = np.where(mine, LIAR, np.where(rng.random(n) < 0.5, "k-1", "k-2"))
    X, end = np.column_stack([x, kind, x * kind[:, None]]), BASE + stream
    return World(X[:end], y[:end], said[:end], givers[:end], days[:end], (X[end:], y[end:]))


def fit(X: np.ndarray, said: np.ndarray, learner: str) -> Any:
    """A plain linear model."""
    from sklearn.linear_model import LogisticRegression, Ridge

    model: Any = Ridge(1.0) if learner == "regression" else LogisticRegression(C=1.0, max_iter=200, tol=1e-3)
    return model.fit(X, said)


def answer(model: Any, X: np.ndarray, learner: str) -> np.ndarray:
    """A number, or the probability of 1, (n,)."""
    return model.predict(X) if learner == "regression" else model.predict_proba(X)[:, 1]


def losses(y: np.ndarray, given: np.ndarray, learner: str) -> np.ndarray:
    """Absolute error, or log loss, (n,)."""
    if learner == "regression":
        return np.abs(y - given)
    return -np.log(np.clip(np.where(y == 1, given, 1 - given), 1e-12, 1))


class Stream:
    """A world as the platform lives through it: each look examines labels, and makes the step that is due."""

    def __init__(self, world: World, learner: str, *, doubting: bool) -> None:
        n = len(world.y)
        self.world, self.learner, self.doubting = world, learner, doubting
        self.aside, self.left_out = np.zeros(n, bool), np.zeros(n, bool)
        self.answers, self.version = np.zeros(n), np.zeros(n, int)
        self.base = self.model = fit(world.X[:BASE], world.said[:BASE], learner)
        self.followed: Followed | None = begun(1, BASE)
        self.until = {1: BASE}  # what each version knows
        self.lies = self.most = self.paid = self.steps = 0  # lies that the last step learned, and the most of any
        self.state = "follows"

    def live(self) -> Stream:
        """To the end of the stream."""
        each = A_DAY // LOOKS_A_DAY
        for end in range(BASE + each, len(self.world.y) + 1, each):
            new = slice(end - each, end)
            self.answers[new] = answer(self.model, self.world.X[new], self.learner)
            self.version[new] = self.followed.version if self.followed else 0
            for suspect in suspects(self._known(max(BASE, end - 7 * A_DAY), end), RULES):
                self.aside[max(BASE, end - 7 * A_DAY) : end] |= self._by(max(BASE, end - 7 * A_DAY), end, [suspect.key])
            if self.followed is not None:
                self._step_if_due(self.followed, end)
        return self

    def _step_if_due(self, followed: Followed, end: int) -> None:
        usable = ~self.aside[:end]
        if self.doubting:
            doubted = [one.key for one in suspects(self._known(BASE, end), RULES, DOUBT)]
            doubted += list(np.unique(self.world.givers[self.aside]))
            usable[BASE:] &= ~self._by(BASE, end, doubted)
        if usable[self.until[followed.version] :].sum() < followed.needed(GROWTH):
            return
        after = self._judged(followed, usable)
        self.followed = after
        if after is None:
            return
        rows = np.flatnonzero(usable)[-HISTORY:]
        self.model = fit(self.world.X[rows], self.world.said[rows], self.learner)
        self.lies, self.steps = int(self.world.lies[rows].sum()), self.steps + 1
        self.most = max(self.most, self.lies)
        self.followed = after.step(after.version + 1, int(usable.sum()))
        self.until[self.followed.version] = end

    def _judged(self, followed: Followed, usable: np.ndarray) -> Followed | None:
        """How the stream is followed after the steps so far were judged together; `None` when they are undone, or over."""
        rows = np.flatnonzero(usable & (self.version[: len(usable)] > followed.base))
        if followed.version == followed.base or not len(rows):
            return followed
        said, X = self.world.said[rows], self.world.X[rows]
        now = losses(said, self.answers[rows], self.learner)
        then = losses(said, answer(self.base, X, self.learner), self.learner)
        givers = self.world.givers[rows].astype(object) if self.doubting else None
        after, self.state, _ = judge_steps(followed, now, then, self.world.days[rows], first=FIRST_LOOK, givers=givers)
        if self.state == "pays":
            self.base, self.paid = self.model, self.paid + 1
        if self.state == "worse":
            self.model = self.base
        return None if self.state in ("worse", "over") else after

    def _known(self, begin: int, end: int) -> dict[Key, Losses]:
        """How far each key's labels are from the answers, of a window and from before it."""
        world, first = self.world, max(BASE, end - (1 + PAST_WINDOWS) * 7 * A_DAY)
        rows = np.flatnonzero(~self.aside[first:end]) + first
        said, given, givers, recent = world.said[rows], self.answers[rows], world.givers[rows], rows >= begin
        off = np.abs(said - given) if self.learner == "regression" else (said != np.round(given)).astype(float)
        return {
            str(key): Losses(off[(givers == key) & recent], off[(givers == key) & ~recent]) for key in np.unique(givers)
        }

    def _by(self, begin: int, end: int, keys: Sequence[Key]) -> np.ndarray:
        return np.isin(self.world.givers[begin:end], list(keys))

    @property
    def error(self) -> float:
        """Mean loss on true labels at the end."""
        X, y = self.world.fresh
        return float(losses(y, answer(self.model, X, self.learner), self.learner).mean())


@dataclass(frozen=True)
class Trial:
    """One world: how much higher the loss at its end is than without the lie, and what was learned.

    Attributes:
        lies: Lies that the last step learned, with doubt and without.
        most: The most that any step learned, with doubt and without.
        told: Lies told in all.
        aside: Labels set aside that were no liar's.
        extra: Loss above that of the same world without the lie, as a share, with doubt and without.
        paid: Whether the steps were ever said to pay, with doubt and without.
        states: How it ended, with doubt.
        steps: Made, with doubt and without.
    """

    lies: tuple[int, int]
    most: tuple[int, int]
    told: int
    aside: int
    extra: tuple[float, float]
    paid: tuple[int, int]
    states: str
    steps: tuple[int, int]


@lru_cache(maxsize=4000)
def _honest(name: str, learner: str, seed: int) -> float:
    world = world_of(WAYS[name], learner, seed)
    return Stream(replace(world, said=world.y), learner, doubting=False).live().error


def run(name: str, learner: str, seed: int) -> Trial:
    """One trial."""
    world = world_of(WAYS[name], learner, seed)
    both = [Stream(world, learner, doubting=doubting).live() for doubting in (True, False)]
    honest, pair = _honest(name, learner, seed), lambda of: (of(both[0]), of(both[1]))
    return Trial(
        pair(lambda one: one.lies),
        pair(lambda one: one.most),
        int(world.lies.sum()),
        int((both[0].aside & (world.givers != LIAR)).sum()),
        pair(lambda one: one.error / honest - 1),
        pair(lambda one: one.paid),
        both[0].state,
        pair(lambda one: one.steps),
    )


def main(arguments: Sequence[str]) -> None:
    """Print the table: with doubt, and in brackets without it."""
    trials = int(arguments[0]) if arguments else 200
    head = (
        "lies at the end",
        "most of a step",
        "loss above honest",
        "95th of 100",
        "much worse",
        "said to pay",
        "undone",
        "steps",
    )
    asked = arguments[1:]
    for learner in [one for one in LEARNERS if one in asked] or LEARNERS:
        print(f"{f'{learner}, {trials} trials each':<48}" + "".join(f"{one:>18}" for one in head))
        for name in [one for one in WAYS if one in asked] or WAYS:
            found = [run(name, learner, seed) for seed in range(trials)]
            with_, without = ([_side(one, side) for one in found] for side in (0, 1))
            told = [_told(with_), _told(without)]
            cells = [f"{ours} ({theirs})" for ours, theirs in zip(*told, strict=True)]
            cells.insert(6, str(sum(one.states == "worse" for one in found)))
            print(f"{name:<48}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def _side(trial: Trial, side: int) -> tuple[int, int, float, int, int]:
    return trial.lies[side], trial.most[side], trial.extra[side], trial.paid[side], trial.steps[side]


def _told(trials: Sequence[tuple[int, int, float, int, int]]) -> list[str]:
    lies, most, extra, paid, steps = (np.array(column, dtype=float) for column in zip(*trials, strict=True))
    return [
        f"{lies.mean():.0f}", f"{most.mean():.0f}", f"{extra.mean():+.1%}", f"{np.quantile(extra, 0.95):+.1%}", f"{(extra > 0.05).sum()}",
        f"{(paid > 0).sum()}", f"{steps.mean():.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
