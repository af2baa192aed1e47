"""A stream that is known to move is learned from as it grows: the steps, and whether labels show that they pay.

One step gains too little to be seen; many of them together are judged against the version from which they began. The state is
kept with the promotion that made the champion, so that both are true at once, and with the decisions of the kind `KIND` after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from treadle.bootstrap import FEWEST_BLOCKS, drawn_means
from treadle.ledger import Ledger
from treadle.project import Project
from treadle.promotion.probation import look_back

STEP = "stream-moves"
"""What a look asks as, whatever its verdict, while the stream is followed and its labelled rows have grown enough."""
KIND = "followed"
REFIT = 2.0  # times the project's share: growth since the last refit after which a step is a refit again, where the others are updates
UPDATE = 0.25  # times the project's share: growth between two steps there; an update costs about a sixth of a refit
STRETCH = 0.25  # growth of the labelled rows after which the steps are judged together
MOST_STRETCHES = 4  # without proof: the rows have doubled since
MUCH = 0.25  # share of the loss by which steps must be worse to be undone: single fits differ by less than that for no reason
CONFIDENCE = 0.95
SAMPLES = 2000
LEFT = 0.25  # of the gain must be left without the labels of one key, as in a duel
GIVER_SHARE = 0.05  # of the labels: a key with fewer moves little

State = Literal["follows", "pays", "over", "worse"]


@dataclass(frozen=True)
class Followed:
    """How far a stream has been followed.

    Attributes:
        base: The version from which the steps began: it won its duel, or the steps up to it were shown to pay.
        base_rows: Rows that were known to it.
        version: The newest step; the base before the first.
        rows: Rows that were known to that.
        won: The version that won the duel with which it began; no duel has judged labels that came after it.
        stretches: How often the steps since the base were judged without proof.
        updates: Whether steps between two refits are updates of the last one: its family can, and the rows have times.
        refit: The newest version of these that was fitted anew; with `updates` only.
        refit_rows: Rows that were known to that.
    """

    base: int
    base_rows: int
    version: int
    rows: int
    won: int
    stretches: int = 0
    updates: bool = False
    refit: int = 0
    refit_rows: int = 0

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Followed:
        """It as `figures` left it."""
        return cls(**{key: value for key, value in figures.items() if key != "state"})

    def step(self, version: int, rows: int, *, is_update: bool = False) -> Followed:
        """One step further."""
        further = replace(self, version=version, rows=rows)
        return further if is_update or not self.updates else replace(further, refit=version, refit_rows=rows)

    def needed(self, growth: float) -> int:
        """New labelled rows that the next step needs."""
        return math.ceil(growth * (UPDATE if self.updates else 1) * self.rows)

    def may_update(self, rows: int, growth: float) -> bool:
        """Whether a step that knows so many rows may be an update of the last refit."""
        return self.updates and rows < self.refit_rows * (1 + REFIT * growth)

    @property
    def is_due(self) -> bool:
        """Whether the steps since the base are to be judged."""
        return self.rows >= self.base_rows * (1 + STRETCH * (self.stretches + 1))

    def figures(self, state: State = "follows") -> Mapping[str, Any]:
        """It as plain data, as a promotion and a decision keep it."""
        return asdict(self) | {"state": state}

    @property
    def said(self) -> str:
        """It in plain words."""
        due = math.ceil(self.base_rows * (1 + STRETCH * (self.stretches + 1)))
        updated = f", an update of version {self.refit}" if self.updates and self.refit != self.version else ""
        newest = (
            ""
            if self.version == self.base
            else f" Its newest step is version {self.version}, of {self.rows:,}{updated}."
        )
        return (
            f"The stream is followed from version {self.base} on, which knew {self.base_rows:,} labelled rows.{newest} "
            f"Labels say whether it pays from {due:,} rows on."
        )


def begun(version: int, rows: int, *, updates: bool = False) -> Followed:
    """The stream is followed from a version on that has won its duel on a loss."""
    followed = Followed(version, rows, version, rows, version)
    return replace(followed, updates=True, refit=version, refit_rows=rows) if updates else followed


def growth_of(project: Project) -> float | None:
    """By which share the labelled rows must grow for a step; `None` where the project follows no stream.

    A version that a person or live traffic is asked about first takes no steps, nor one that cannot answer the ledger's rows again.
    """
    rules, asks_first = project.retrain, project.promote.approval == "human" or project.serve.challenger != "off"
    return None if rules.policy != "treadle" or asks_first or project.privacy.redacted else rules.follow


def may_begin(project: Project, asking: str | None, *, held: int) -> bool:
    """Whether a stream is followed from a version on that has won its duel.

    Args:
        project: The rules.
        asking: As what its retrain was asked for; inputs that moved have not shown that the answers got worse.
        held: Rows of the frozen holdout, on which each step is looked at.
    """
    return growth_of(project) is not None and asking == "quality-loss" and held > 0


def followed_of(ledger: Ledger, project: Project, champion: int | None) -> Followed | None:
    """How far a project's stream has been followed; `None` when it is not, or when its champion came another way."""
    swap = ledger.last_promotion(project.name) if growth_of(project) is not None else None
    if swap is None or swap.version != champion or KIND not in swap.figures:
        return None
    newest = ledger.last_decisions(project.name, 1, kind=KIND)
    of_now = newest and newest[0].figures["version"] == champion
    figures = newest[0].figures if of_now else swap.figures[KIND]
    if figures["state"] in ("over", "worse"):
        return None
    return Followed.of(figures)


def followed_now(ledger: Ledger, project: Project) -> Followed | None:
    """How far a project's stream has been followed up to the champion of now; `None` when it is not."""
    champion = ledger.champion(project.name)
    return followed_of(ledger, project, champion.version if champion else None)


def judge_steps(
    followed: Followed, now: np.ndarray, then: np.ndarray, days: np.ndarray | None, *, first: int, seed: int = 0,
    givers: np.ndarray | None = None,
) -> tuple[Followed, State, str]:  # fmt: skip
    """Compare what was answered since the base with what the base would have answered to the same rows.

    The steps are for the worse when they are so by the rule of the probation, and by MUCH; they pay when the whole one-sided
    interval of the gain is above zero, once the rows have grown by STRETCH, and a quarter of it is left without the labels of any
    one key; they are over after MOST_STRETCHES without proof.

    Args:
        followed: The steps.
        now: Losses of what was answered, in time order (n,).
        then: Losses of the base's answers to the same rows (n,).
        days: The day of each row (n,): rows of one day are drawn together; `None` where rows do not depend on each other.
        first: Rows of the probation's first look.
        seed: Of the bootstrap.
        givers: Who gave each row's label (n,), `""` where nobody in particular; `None` when that is not known.

    Returns:
        How the stream is followed from now on, what the steps are, and why in plain words.

    Source: paired bootstrap, B. Efron and R. Tibshirani (1993), chapter 16.
    """
    known = np.isfinite(now) & np.isfinite(then)
    now, then, days = now[known], then[known], None if days is None else days[known]
    givers = np.full(len(now), "") if givers is None else givers[known]
    look = look_back(
        followed.version, followed.base, now, then, days, first=first, most=len(now) + 1, over=False, seed=seed
    )
    if look.state == "failed" and (look.loss or 0) > (1 + MUCH) * (look.loss_before or 0):
        said = _compared(followed, now[: look.compared], then[: look.compared])
        return followed, "worse", f"{said}: they were surely, and by much, for the worse."
    if not followed.is_due or not len(now):
        return followed, "follows", f"{_compared(followed, now, then)}. {followed.said}"
    units = len(now) if days is None else len(np.unique(days))
    drawn = (
        drawn_means(then - now, days, np.random.default_rng(seed), SAMPLES) if units >= FEWEST_BLOCKS else np.zeros(1)
    )
    said = _compared(followed, now, then)
    alone = _hangs_on(then - now, givers, first)
    if alone is not None:
        said = f"{said}, but without the labels of the key {alone} hardly a gain is left"
    elif np.quantile(drawn, 1 - CONFIDENCE) > 0:
        newest = replace(followed, base=followed.version, base_rows=followed.rows, stretches=0)
        return newest, "pays", f"{said}: following the stream pays."
    if followed.stretches + 1 < MOST_STRETCHES:
        return replace(followed, stretches=followed.stretches + 1), "follows", f"{said}: that is no proof yet."
    return (
        followed,
        "over",
        f"{said}: following the stream does not pay any more, so the next retrain waits for a verdict.",
    )


def _compared(followed: Followed, now: np.ndarray, then: np.ndarray) -> str:
    if not len(now):
        return f"No labels of the steps since version {followed.base} have come"
    return (
        f"On {len(now):,} labelled predictions the steps since version {followed.base} have the mean loss {np.mean(now):.4g}, "
        f"version {followed.base} would have had {np.mean(then):.4g}"
    )


def _hangs_on(gains: np.ndarray, givers: np.ndarray, first: int) -> str | None:
    """The key without whose labels less than LEFT of the mean gain is left, as far as there are `first` other rows to say so."""
    for key in np.unique(givers[givers != ""]):
        mine = givers == key
        if mine.mean() >= GIVER_SHARE and (~mine).sum() >= first and gains[~mine].mean() <= LEFT * gains.mean():
            return str(key)
    return None
