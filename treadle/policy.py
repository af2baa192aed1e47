"""Whether a verdict may start a retrain. A pure function: all that it weighs is handed to it, in event time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from treadle.project import Project, format_duration

ASKING = ("drift", "quality-loss")


@dataclass(frozen=True)
class Circumstances:
    """What is known at the moment of decision.

    Attributes:
        at: Event time of the verdict.
        retrains: Event times of the retrains decided before; those after `at` too, since clocks are set back.
        new_labels: Labelled rows newer than what the champion learned from.
        cpu_minutes: CPU minutes of training in the 24 hours before.
        in_flight: Whether a train run holds the lease now.
    """

    at: datetime
    retrains: Sequence[datetime]
    new_labels: int
    cpu_minutes: float
    in_flight: bool


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, and why, in plain words."""

    retrain: bool
    reason: str


def decide(verdict: str, said: str, project: Project, now: Circumstances) -> Decision:
    """Weigh a verdict. The first rule that objects names itself; a suppressed trigger is never silent.

    Args:
        verdict: The watch's verdict.
        said: Its reason.
        project: The rules under `retrain` and `budget`.
        now: The circumstances.
    """
    if verdict not in ASKING:
        return Decision(False, f"The verdict is {verdict}: nothing to retrain for.")
    rules = project.retrain
    past = _past(now, rules.cooldown)
    if now.in_flight:
        return Decision(False, f"{verdict}, but a train run is in flight already.")
    if past and now.at - max(past) < rules.cooldown:
        ago = format_duration(timedelta(seconds=int((now.at - max(past)).total_seconds())))
        return Decision(
            False, f"{verdict}, but the last retrain was {ago} ago; the cooldown is {format_duration(rules.cooldown)}."
        )
    today = [moment for moment in past if now.at - moment < timedelta(days=1)]
    if len(today) >= rules.max_per_day:
        return Decision(
            False,
            f"{verdict}, but there were {len(today)} retrains in 24 hours; at most {rules.max_per_day} are allowed.",
        )
    if now.new_labels < rules.min_new_labels:
        return Decision(
            False,
            f"{verdict}, but only {now.new_labels} labelled rows are newer than what the champion learned from; "
            f"{rules.min_new_labels} are needed for a retrain to know more.",
        )
    budget = project.budget.cpu_minutes_per_day
    if budget is not None and now.cpu_minutes >= budget:
        return Decision(False, f"{verdict}, but {now.cpu_minutes:.0f} of {budget:.0f} CPU minutes a day are spent.")
    return Decision(True, f"{verdict}: {said} {now.new_labels} new labelled rows to learn from.")


def _past(now: Circumstances, cooldown: timedelta) -> list[datetime]:
    """The retrains so far; one in the future was dated by another clock.

    A clock that was set back a little must not end the cooldown, so such a retrain counts as of now. One farther ahead
    than the cooldown lasts (and than a day) is a wrong date, and must not stop all retraining until that date has come.
    """
    ahead = max(cooldown, timedelta(days=1))
    return [min(moment, now.at) for moment in now.retrains if moment - now.at <= ahead]
