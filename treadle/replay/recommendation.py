"""Which policy to choose, by a rule that can be said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from treadle.project import Retrain, RetrainPolicy, format_duration
from treadle.replay.walk import Outcome

MARGIN = 0.02
"""Errors within this share of the least one are as good."""
WATCHFUL: tuple[RetrainPolicy, ...] = ("treadle", "every-window", "static")
"""What a project can live by (`retrain.policy`); of two that spent the same, such as nothing, the one that would notice more."""


@dataclass(frozen=True)
class Recommendation:
    """A policy, and why, with what it would have cost."""

    name: RetrainPolicy
    because: str

    def setting(self, every: timedelta) -> dict[str, Any]:
        """What has to stand under `retrain` in project.yaml to live by it; `every` is the length of the replay's windows."""
        return {"policy": self.name} | ({"every": format_duration(every)} if self.name == "every-window" else {})

    def is_followed(self, rules: Retrain, every: timedelta) -> bool:
        """Whether a project lives by it already."""
        return rules.policy == self.name and (self.name != "every-window" or rules.every == every)

    def as_record(self, rules: Retrain, every: timedelta) -> dict[str, Any]:
        """As plain data: what `treadle replay --json` prints of it for a project with these rules."""
        told = {"recommended": self.name, "because": self.because}
        return told | {"setting": self.setting(every), "is_set": self.is_followed(rules, every)}


def recommend(outcomes: Sequence[Outcome], metric: str) -> Recommendation:
    """The policy that spent the least CPU time on training among those whose error is within 2 % of the least.

    Two that never trained spent the same; then the one that watches is recommended, since it costs no more and notices
    what this past did not show. Evidently's default verdict is there to be compared with; nobody is advised to live by it,
    since it calls quiet windows drifted (docs/drift.md).

    Args:
        outcomes: One a policy, of which a project can live by one at least.
        metric: What the errors are called.
    """
    ours: dict[RetrainPolicy, Outcome] = {
        name: outcome for name in WATCHFUL for outcome in outcomes if outcome.name == name
    }
    least = min(outcome.error for outcome in ours.values())
    good: dict[RetrainPolicy, Outcome] = {
        name: outcome for name, outcome in ours.items() if outcome.error <= least + MARGIN * abs(least)
    }
    chosen = min(good, key=lambda name: good[name].cpu_seconds)  # the first, so the most watchful, of equals
    return Recommendation(chosen, _because(good[chosen], [*good.values()], [*ours.values()], metric))


def _because(chosen: Outcome, good: Sequence[Outcome], outcomes: Sequence[Outcome], metric: str) -> str:
    best = min(outcomes, key=lambda outcome: outcome.error)
    near = "the least error" if chosen is best else f"an error within {MARGIN:.0%} of the least ({best.error:.4g})"
    said = (
        f"{chosen.name} has {near}: {metric} {chosen.error:.4g}, for {chosen.retrains} retrains and "
        f"{chosen.cpu_seconds:.1f} CPU seconds of training"
    )
    others = [f"{o.name} would have spent {o.cpu_seconds:.1f} in {o.retrains}" for o in good if o is not chosen]
    return f"{said}; {', '.join(others)}." if others else f"{said}; no other comes as near."
