"""The duel: the gate on the newest rows, and what may object to it though it passes.

Objections: the frozen holdout, a slice, one caller's labels, the fairness floor, live traffic. Each says why in plain
words. Pure functions on answers; nothing is promoted or stored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from treadle.bootstrap import block_draws, block_sums, needed_share, unit_codes
from treadle.learning.slices import slice_masks
from treadle.problems import Problem
from treadle.project import Promote
from treadle.promotion.bout import Bout
from treadle.promotion.callers import believes_one, hangs_on_one
from treadle.promotion.fairness import Fairness, measure_fairness
from treadle.promotion.gate import Gate, compare
from treadle.promotion.live import say_live
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from treadle.promotion.release import Quality

SURE = 0.95  # of an objection
QUITE_SURE = 0.99  # newest rows, which then need no second opinion
LEANS = 0.8  # share of the resamples in which the holdout says the opposite
GONE = 1.5  # times the champion's loss on the newest rows: a holdout above that is of another world
MUCH = 0.25  # a slice may lose by this share of its loss
SLICE_SHARE = 0.05  # of the rows: a smaller slice objects to nothing
SLICE_ROWS = 30
SAMPLES = 4000


@dataclass(frozen=True)
class SliceDuel:
    """A slice on which the challenger is surely worse: by which share of the champion's loss, and whether that is much."""

    slice: str
    rows: int
    worse: float
    much: bool


@dataclass(frozen=True)
class Duel:
    """What the duel said.

    Attributes:
        promote: Whether the challenger passes the gate and nothing objects.
        gate: The comparison on the newest rows.
        objections: What speaks against it, `{kind: reason}`; the kinds are `holdout`, `slice`, `labels`, `fairness`, `live`.
        holdout: The comparison on the frozen holdout; `None` where there is none, or where it is the gate.
        slices: Slices on which the challenger is surely worse, worst first.
        fairness: The challenger's, and the champion's; `None` when the project names no group.
        live: What live traffic said of both; `None` when the challenger was never tried on it.
    """

    promote: bool
    gate: Gate
    objections: dict[str, str]
    holdout: Gate | None
    slices: tuple[SliceDuel, ...]
    fairness: tuple[Fairness, Fairness | None] | None
    live: Quality | None

    @property
    def reason(self) -> str:
        """All of it in plain words: the gate's, what objects, and what is only worth knowing."""
        objecting = [f"Refused all the same: {why}" for why in self.objections.values()] if self.gate.promote else []
        return " ".join([self.gate.reason, *objecting, *self._notes()])

    def on_holdout(self, fewest: int) -> Duel:
        """The same duel where fewer than `fewest` new rows have come, so that the frozen holdout judged: the reason says so."""
        said = f"Fewer than {fewest} new labelled rows have come since the champion's, so the frozen holdout judges."
        return replace(self, gate=replace(self.gate, reason=f"{said} {self.gate.reason}"))

    def unless_worse(self) -> Duel:
        """The same duel for a project that replaces its champion at every window: only what shows a worse challenger keeps it.

        That is the whole 95 % interval of the gain below zero, answers that cannot be compared, or an objection; the frozen
        holdout's is none, since it speaks of luck in a gain that nobody asks for here.
        """
        shown = not np.isfinite(self.gate.gain) or self.gate.interval[1] < 0
        objections = {kind: why for kind, why in self.objections.items() if kind != "holdout"}
        promote = not shown and not objections
        said = self.gate.reason
        if promote and not self.gate.promote:
            said = f"{said} Promoted all the same: nothing shows that it is worse, and the policy is `every-window`."
        return replace(
            self, promote=promote, gate=replace(self.gate, promote=not shown, reason=said), objections=objections
        )

    def as_step(self) -> Duel:
        """The same duel for a step of a stream that is followed: labels judge it by what comes, together with other steps.

        Here, on old rows, it is only kept out where it cannot answer, or is unfair to a group.
        """
        kept_out = {kind: why for kind, why in self.objections.items() if kind in ("fairness", "live")}
        answers = bool(np.isfinite(self.gate.gain))
        gate = self.gate
        told = (
            f"On {gate.rows:,} old rows, which have no say: {gate.challenger:.4g} against {gate.champion:.4g}."
            if answers
            else gate.reason
        )
        said = f"The stream is followed, and labels will judge this step. {told}"
        return replace(
            self,
            promote=answers and not kept_out,
            gate=replace(gate, promote=answers, reason=said),
            objections=kept_out,
        )

    def figures(self) -> dict[str, Any]:
        """All figures as plain data."""
        return asdict(replace(self.gate, reason=self.reason, promote=self.promote)) | {
            "objections": self.objections,
            "frozen_holdout": self.holdout and asdict(self.holdout),
            "slices": [asdict(part) for part in self.slices],
            "fairness": self.fairness and [part and asdict(part) for part in self.fairness],
            "live": self.live and self.live.figures(),
        }

    def _notes(self) -> list[str]:
        notes = []
        if self.holdout is not None and "holdout" not in self.objections:
            notes.append(
                f"On the frozen holdout ({self.holdout.rows:,} rows): {self.holdout.challenger:.4g} against "
                f"{self.holdout.champion:.4g}."
            )
        flagged = [part for part in self.slices if not part.much]
        if flagged:
            told = ", ".join(f"{part.slice} (by {part.worse:.0%})" for part in flagged[:3])
            notes.append(f"Surely worse on {told}{f' and {len(flagged) - 3} more' if len(flagged) > 3 else ''}.")
        if self.fairness is not None and "fairness" not in self.objections:
            notes.append(f"{_say_fairness(self.fairness[0])}.")
        if self.live is not None and "live" not in self.objections:
            notes.append(say_live(self.live))
        return notes


def hold_duel(
    newest: Bout, holdout: Bout | None, problem: Problem, metric: str, schema: Schema, rules: Promote, *,
    seed: int = 0, live: Quality | None = None, versus: str = "the champion", has_champion: bool = True, samples: int = 2000,
) -> Duel:  # fmt: skip
    """Compare on the newest rows, then hear what objects.

    Args:
        newest: Rows that neither side has learned from.
        holdout: The frozen holdout, from the project's first table; `None` where it is small, or judges instead.
        problem: Knows the metrics and the loss of a row.
        metric: Decides.
        schema: Knows the columns.
        rules: The project's rules for promotions.
        seed: Of the bootstrap.
        live: What live traffic says of both.
        versus: What the other side is called.
        has_champion: Whether the other side is a champion; a first version is compared with a trivial baseline.
        samples: Bootstrap samples of the gate.
    """
    how: dict[str, Any] = {"problem": problem, "metric": metric, "seed": seed, "samples": samples}
    gate = compare(
        newest.y, newest.champion, newest.challenger, min_gain=rules.min_gain if has_champion else 0.0,
        confidence=rules.confidence, blocks=newest.blocks, versus=versus, **how,
    )  # fmt: skip
    beside = None if holdout is None else compare(
        holdout.y, holdout.champion, holdout.challenger, confidence=SURE, blocks=holdout.blocks, versus=versus, **how
    )  # fmt: skip
    found: dict[str, str | None] = {}
    weak: tuple[SliceDuel, ...] = ()
    if gate.promote and has_champion:
        weak = weak_slices(newest, problem, metric, schema, seed)
        found["holdout"] = _is_luck(gate, newest, beside, holdout, how)
        found["slice"] = _weak(weak)
        found["labels"] = hangs_on_one(newest, gate, rules, how)
    if has_champion and np.isfinite(gate.gain):
        found["labels"] = found.get("labels") or believes_one(newest, how)
    fairness = _fairness(newest, holdout, problem, metric, schema, rules, has_champion=has_champion)
    found["fairness"] = _unfair(fairness, rules)
    found["live"] = say_live(live) if live is not None and live.worse else None
    objections = {kind: why for kind, why in found.items() if why}
    return Duel(gate.promote and not objections, gate, objections, beside, weak, fairness, live)


def _is_luck(gate: Gate, newest: Bout, beside: Gate | None, holdout: Bout | None, how: dict[str, Any]) -> str | None:
    """The holdout objects to luck: the newest rows are not quite sure, and it leans the other way.

    Where they are sure it has no say: a world that moves takes from the old rows, often more than it gives to the new. Nor
    has a holdout on which the champion itself does far worse than on the newest rows: its world is gone.
    """
    if beside is None or holdout is None or not np.isfinite(beside.gain):
        return None
    if gate.probability >= QUITE_SURE or beside.probability > 1 - LEANS:
        return None
    then, now = (_champions_loss(bout, how) for bout in (holdout, newest))
    if then > GONE * now:
        return None
    return (
        f"the newest rows are not {QUITE_SURE:.0%} sure, and on the frozen holdout ({beside.rows:,} rows of the first table) it "
        f"has {beside.challenger:.4g} against {beside.champion:.4g}."
    )


def _champions_loss(bout: Bout, how: dict[str, Any]) -> float:
    return float(np.mean(how["problem"].row_losses(how["metric"], bout.y, bout.champion)))


def weak_slices(bout: Bout, problem: Problem, metric: str, schema: Schema, seed: int) -> tuple[SliceDuel, ...]:
    """Slices on which the challenger is surely worse, all slices together at SURE (Bonferroni's division), worst first.

    Much worse is a slice that surely loses more than MUCH of its loss and then lies above the champion's loss on all rows:
    an easy slice that stays easy is not.
    """
    named = slice_masks(bout.frame, schema, max(SLICE_ROWS, round(SLICE_SHARE * len(bout.y))))
    if not named:
        return ()
    old, new = (problem.row_losses(metric, bout.y, answer) for answer in (bout.champion, bout.challenger))
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return ()
    codes = unit_codes(len(old), bout.blocks)
    masks = np.column_stack([mask for _, mask in named]).astype(float)
    before, after = (block_sums(codes, masks * losses[:, None]) for losses in (old, new))
    units = len(before)
    drawn = block_draws(units, np.random.default_rng(seed), SAMPLES)
    lost, had = drawn @ (after - before), np.maximum(drawn @ before, 1e-12)  # (SAMPLES, slices)
    needed = needed_share(1 - (1 - SURE) / len(named), units)
    sure, surely_much = ((lost > share * had).mean(axis=0) >= min(needed, 1.0) for share in (0.0, MUCH))
    rows = masks.sum(axis=0)
    hard = after.sum(axis=0) / rows > old.mean()
    worse = (after - before).sum(axis=0) / np.maximum(before.sum(axis=0), 1e-12)
    found = [
        SliceDuel(name, int(rows[i]), float(worse[i]), bool(surely_much[i] and hard[i]))
        for i, (name, _) in enumerate(named)
        if sure[i]
    ]
    return tuple(sorted(found, key=lambda part: -part.worse))


def _weak(slices: Sequence[SliceDuel]) -> str | None:
    much = [part for part in slices if part.much]
    if not much:
        return None
    return f"it is much worse on {much[0].slice} ({much[0].rows:,} rows): its loss there is {much[0].worse:.0%} higher."


def _fairness(
    newest: Bout, holdout: Bout | None, problem: Problem, metric: str, schema: Schema, rules: Promote, *,
    has_champion: bool,
) -> tuple[Fairness, Fairness | None] | None:  # fmt: skip
    """Both sides' fairness on all rows that neither has learned from, the holdout included."""
    rule = rules.fairness
    if rule is None:
        return None
    bouts = [newest, *([holdout] if holdout is not None else [])]
    groups = _joined([bout.frame[rule.group] for bout in bouts])
    y = np.concatenate([bout.y for bout in bouts])

    def of(side: str) -> Fairness:
        answer = np.concatenate([getattr(bout, side) for bout in bouts])
        return measure_fairness(groups, y, answer, problem, metric, schema)

    return of("challenger"), of("champion") if has_champion else None


def _joined(parts: Sequence[pd.Series]) -> pd.Series:
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def _unfair(fairness: tuple[Fairness, Fairness | None] | None, rules: Promote) -> str | None:
    """The floor objects, unless the challenger is at least fairer than the champion: keeping that one would be worse."""
    if fairness is None or rules.fairness is None:
        return None
    new, old = fairness
    if not np.isfinite(new.ratio) or new.ratio >= rules.fairness.floor:
        return None
    if old is not None and np.isfinite(old.ratio) and new.ratio > old.ratio:
        return None
    than = "" if old is None else f" and no better than the champion's {old.ratio:.2f}"
    return f"{_say_fairness(new)}, below the floor of {rules.fairness.floor:g}{than}."


def _say_fairness(fairness: Fairness) -> str:
    if not np.isfinite(fairness.ratio):
        return f"Too few rows by {fairness.group} to say how even it is"
    return (
        f"The {fairness.measured} is {fairness.ratio:.2f} as good for {fairness.group} = {fairness.worst} as for "
        f"{fairness.best} ({fairness.rows:,} rows)"
    )
