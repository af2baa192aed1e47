"""Which policy to choose, by a rule that can be said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from treadle.replay.walk import Outcome

MARGIN = 0.02
"""Errors within this share of the least one are as good."""
WATCHFUL = ("treadle", "evidently", "every-window", "static")
"""Of two policies that spent the same, such as nothing, the one that would notice more."""


@dataclass(frozen=True)
class Recommendation:
    """A policy's name, and why, with what it would have cost."""

    name: str
    because: str


def recommend(outcomes: Sequence[Outcome], metric: str) -> Recommendation:
    """The policy that spent the least CPU time on training among those whose error is within 2 % of the least.

    Two that never trained spent the same; then the one that watches is recommended, since it costs no more and notices
    what this past did not show.

    Args:
        outcomes: One a policy.
        metric: What the errors are called.
    """
    least = min(outcome.error for outcome in outcomes)
    good = [outcome for outcome in outcomes if outcome.error <= least + MARGIN * abs(least)]
    chosen = min(good, key=lambda outcome: (outcome.cpu_seconds, WATCHFUL.index(outcome.name)))
    return Recommendation(chosen.name, _because(chosen, good, outcomes, metric))


def _because(chosen: Outcome, good: Sequence[Outcome], outcomes: Sequence[Outcome], metric: str) -> str:
    best = min(outcomes, key=lambda outcome: outcome.error)
    near = "the least error" if chosen is best else f"an error within {MARGIN:.0%} of the least ({best.error:.4g})"
    said = (
        f"{chosen.name} has {near}: {metric} {chosen.error:.4g}, for {chosen.retrains} retrains and "
        f"{chosen.cpu_seconds:.1f} CPU seconds of training"
    )
    others = [f"{o.name} would have spent {o.cpu_seconds:.1f} in {o.retrains}" for o in good if o is not chosen]
    return f"{said}; {', '.join(others)}." if others else f"{said}; no other comes as near."
