"""Whether a verdict may start a retrain. Pure functions: all that they weigh is handed to them, in event time.

Each rule is one function that says in plain words why not, or nothing; the first that objects names itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from treadle.durations import format_duration
from treadle.project import Project, Retrain
from treadle.retraining.steps import STEP, Followed, growth_of

ASKING = ("drift", "quality-loss")
MOST_DOUBLINGS = 4
"""So often at most does a challenger that was turned down double the labels that the next try needs."""
NIGHTLY = "nightly"
"""What the nightly train asks as: few rules weigh it, since its new rows come with the table."""
WINDOW = "window-over"
"""What a look asks as, whatever its verdict, where the policy is `every-window` and the window is over."""


@dataclass(frozen=True)
class Streak:
    """Challengers that were turned down one after another, up to now.

    Attributes:
        turned_down: How many.
        since: Event time at which the last of them was.
        new_labels: Labels that have come since then.
    """

    turned_down: int
    since: datetime
    new_labels: int


@dataclass(frozen=True)
class Circumstances:
    """What is known at the moment of decision.

    Attributes:
        at: Event time of the verdict.
        retrains: Event times of the retrains decided before; those after `at` too, since clocks are set back.
        new_labels: Labelled rows newer than what the champion learned from.
        cpu_minutes: CPU minutes of training in the 24 hours before.
        in_flight: Whether a train run holds the lease now.
        asked: Event time of a retrain that was asked for and that no train run has begun yet.
        streak: Challengers turned down in a row.
        harm: By how much the inputs that moved are likely to raise the loss, as a share of it; `None` if not known.
        followed: How far a stream that is known to move has been followed; `None` when it is not followed.
        in_doubt: Whether its steps leave a key out; `new_labels` are then those of the others.
    """

    at: datetime
    retrains: Sequence[datetime]
    new_labels: int
    cpu_minutes: float
    in_flight: bool
    asked: datetime | None = None
    streak: Streak | None = None
    harm: float | None = None
    followed: Followed | None = None
    in_doubt: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, and why, in plain words.

    Attributes:
        rule: The name in `RULES` of the rule that said no; `None` when none did.
        asking: As what a retrain was asked for; `None` when none was.
    """

    retrain: bool
    reason: str
    rule: str | None = None
    asking: str | None = None


Rule = Callable[[Project, Circumstances], str | None]


def say_policy(rules: Retrain) -> str:
    """The policy in a few words.

    >>> say_policy(Retrain(policy="every-window", every=timedelta(days=7)))
    'every-window, one retrain every 1w'
    >>> say_policy(Retrain(follow=0.025))
    'treadle, and a stream that moves is followed with each 2.5 % of new labelled rows'
    """
    if rules.policy == "every-window":
        return f"every-window, one retrain every {format_duration(rules.every)}"
    if rules.policy == "treadle" and rules.follow is not None:
        return f"treadle, and a stream that moves is followed with each {100 * rules.follow:.3g} % of new labelled rows"
    return rules.policy


def asks_as(verdict: str, project: Project, now: Circumstances) -> str | None:
    """As what a look or a night asks for a retrain, by the project's policy; `None` if it asks for none.

    Args:
        verdict: The watch's verdict, or `NIGHTLY`.
        project: The rules under `retrain`.
        now: The circumstances.
    """
    if verdict == NIGHTLY:
        return NIGHTLY
    if project.retrain.policy == "every-window":
        return None if _window(project, now) else WINDOW
    if now.followed is not None and _next_step(project, now) is None:
        return STEP
    if now.followed is not None and not now.in_doubt:  # else only a retrain with a duel learns from that key
        return None
    return verdict if verdict in ASKING else None


def decide(verdict: str, said: str, project: Project, now: Circumstances) -> Decision:
    """Weigh a verdict. The first rule that objects names itself; a suppressed trigger is never silent.

    Args:
        verdict: The watch's verdict, or `NIGHTLY`.
        said: Its reason.
        project: The rules under `retrain` and `budget`.
        now: The circumstances.
    """
    asking = asks_as(verdict, project, now)
    if asking is None:
        why = _window(project, now) or _next_step(project, now) or "nothing to retrain for."
        return Decision(False, f"The verdict is {verdict}: {why}")
    for name, rule in RULES.items():
        if _applies(name, asking) and (objection := rule(project, now)):
            return Decision(False, f"{asking}, but {objection}", name, asking)
    if asking == NIGHTLY:
        return Decision(True, f"{asking}: {said}", asking=asking)
    if asking == WINDOW:
        said = f"the window of {format_duration(project.retrain.every)} is over; the verdict is {verdict}."
    if asking == STEP and now.followed is not None:
        knows = f"version {now.followed.version} knows {now.followed.rows:,} rows"
        said = f"the stream is known to move, and {knows}; the verdict is {verdict}."
    return Decision(True, f"{asking}: {said} {now.new_labels:,} new labelled rows to learn from.", asking=asking)


def _applies(rule: str, asking: str) -> bool:
    """Whether a rule weighs what is asked: harm is known of inputs alone, and a night or a window is its own cooldown."""
    if asking in LIMITED:
        return rule in LIMITED[asking]
    if rule == "followed":
        return False
    return rule != "harmless" or asking == "drift"


def _static(project: Project, _now: Circumstances) -> str | None:
    if project.retrain.policy != "static":
        return None
    return f"the policy is `static`: it is reported and nothing is retrained, but by hand (`treadle train {project.name}`)."


def _followed(project: Project, now: Circumstances) -> str | None:
    if now.followed is None or growth_of(project) is None:
        return None
    return "the stream is followed: its steps learn from all that is new, rows that came with the table too."


def _window(project: Project, now: Circumstances) -> str | None:
    every = project.retrain.every
    past = _past(now.retrains, now.at, every)
    if project.retrain.policy != "every-window" or not past or now.at - max(past) >= every:
        return None
    return f"the policy is one retrain every {format_duration(every)}, and the last was at {max(past):%Y-%m-%d %H:%M}."


def _next_step(project: Project, now: Circumstances) -> str | None:
    growth = growth_of(project)
    if now.followed is None or growth is None:
        return None
    needed = max(now.followed.needed(growth), project.retrain.min_new_labels)
    if now.new_labels >= needed:
        return None
    return f"the stream is followed, and the next step comes with {needed} new labelled rows ({now.new_labels} so far)."


def _in_flight(_project: Project, now: Circumstances) -> str | None:
    return "a train run is in flight already." if now.in_flight else None


def _breaker(project: Project, now: Circumstances) -> str | None:
    rules, streak = project.retrain, now.streak
    if not breaker_is_open(project, now.at, streak) or streak is None:
        return None
    return (
        f"the breaker is open: {streak.turned_down} challengers in a row were turned down, the last at "
        f"{streak.since:%Y-%m-%d %H:%M}. It closes {format_duration(rules.breaker_time)} after that, with "
        f"{rules.breaker_labels} labels since then ({streak.new_labels} so far), or by `treadle governor close {project.name}`."
    )


def breaker_is_open(project: Project, at: datetime, streak: Streak | None) -> bool:
    """Whether so many challengers were turned down in a row that the next is not tried yet."""
    rules = project.retrain
    if streak is None or streak.turned_down < rules.max_rejected or streak.new_labels >= rules.breaker_labels:
        return False
    past = _past([streak.since], at, rules.breaker_time)
    return bool(past) and at - past[0] < rules.breaker_time


def _turned_down(project: Project, now: Circumstances) -> str | None:
    streak = now.streak
    if streak is None or not _past([streak.since], now.at, timedelta(0)):
        return None
    needed = project.retrain.min_new_labels * 2 ** min(streak.turned_down, MOST_DOUBLINGS)
    if streak.new_labels >= needed:
        return None
    challengers = "challenger was" if streak.turned_down == 1 else f"{streak.turned_down} challengers were"
    return (
        f"the last {challengers} turned down, on evidence that has hardly grown: {streak.new_labels} labels have come "
        f"since, {needed} are needed for another try, twice as many each time."
    )


def _harmless(project: Project, now: Circumstances) -> str | None:
    least = project.retrain.min_harm
    if now.harm is None or now.harm >= least:
        return None
    likely = f"raise the loss by {now.harm:.1%} only" if now.harm > 0 else f"cost nothing (the loss {now.harm:+.1%})"
    return (
        f"the inputs that moved are likely to {likely}; below {least:.1%} "
        "(retrain.min_harm) it is reported and nothing is retrained."
    )


def _cooldown(project: Project, now: Circumstances) -> str | None:
    cooldown = project.retrain.cooldown
    past = _past(now.retrains, now.at, cooldown)
    if not past or now.at - max(past) >= cooldown:
        return None
    ago = format_duration(timedelta(seconds=int((now.at - max(past)).total_seconds())))
    return f"the last retrain was {ago} ago; the cooldown is {format_duration(cooldown)}."


def _daily_maximum(project: Project, now: Circumstances) -> str | None:
    most = project.retrain.max_per_day
    today = [
        moment
        for moment in _past(now.retrains, now.at, project.retrain.cooldown)
        if now.at - moment < timedelta(days=1)
    ]
    if len(today) < most:
        return None
    return f"there were {len(today)} retrains in 24 hours; at most {most} are allowed."


def _asked(_project: Project, now: Circumstances) -> str | None:
    if now.asked is None:
        return None
    return f"the retrain that was asked for at {now.asked:%Y-%m-%d %H:%M} has not begun yet."


def _no_new_labels(project: Project, now: Circumstances) -> str | None:
    rules = project.retrain
    # at every window no evidence is asked for, only something new
    least = 1 if rules.policy == "every-window" else rules.min_new_labels
    if now.new_labels >= least:
        return None
    return (
        f"only {now.new_labels} labelled row{' is' if now.new_labels == 1 else 's are'} newer than what the champion learned from; "
        f"{least} {'is' if least == 1 else 'are'} needed for a retrain to know more "
        f"(they are sent to /v1/models/{project.name}/feedback)."
    )


def _budget(project: Project, now: Circumstances) -> str | None:
    budget = project.budget.cpu_minutes_per_day
    if budget is None or now.cpu_minutes < budget:
        return None
    return f"{now.cpu_minutes:.0f} of {budget:.0f} CPU minutes a day are spent."


RULES: Mapping[str, Rule] = {
    "static": _static,
    "followed": _followed,
    "in-flight": _in_flight,
    "breaker": _breaker,
    "harmless": _harmless,
    "turned-down": _turned_down,
    "cooldown": _cooldown,
    "window": _window,
    "daily-maximum": _daily_maximum,
    "asked-already": _asked,
    "no-new-labels": _no_new_labels,
    "budget": _budget,
}
"""The rules by name, in the order in which they are asked."""
LIMITED: Mapping[str, frozenset[str]] = {
    NIGHTLY: frozenset({"static", "followed", "in-flight", "breaker", "window", "daily-maximum", "budget"}),
    WINDOW: frozenset({"in-flight", "asked-already", "no-new-labels", "budget"}),
    STEP: frozenset({"in-flight", "breaker", "daily-maximum", "asked-already", "budget"}),
}
"""What only some of the rules weigh."""
FINAL = frozenset({"static", "harmless"})
"""Rules whose objection does not pass with time: what they suppress does not wait for a better moment."""


def harm_of(look: Mapping[str, Any]) -> float | None:
    """By how much the moved inputs raise the loss, as the look says; `None` if that is not known, or not all that moved.

    >>> harm_of({"impact": {"harm": 0.004}, "findings": [{"kind": "input", "drifted": True}]})
    0.004
    >>> harm_of({"impact": {"harm": 0.004}, "findings": [{"kind": "prediction", "drifted": True}]}) is None
    True
    """
    harm = (look.get("impact") or {}).get("harm")
    moved = {finding["kind"] for finding in look.get("findings") or () if finding.get("drifted")}
    return harm if moved <= {"input", "missing", "categories"} else None


def _past(moments: Sequence[datetime], at: datetime, span: timedelta) -> list[datetime]:
    """The moments so far; one in the future was dated by another clock.

    A clock that was set back a little must not end the cooldown, so such a moment counts as of now. One farther ahead
    than the span lasts (and than a day) is a wrong date, and must not stop all retraining until that date has come.
    """
    ahead = max(span, timedelta(days=1))
    return [min(moment, at) for moment in moments if moment - at <= ahead]
