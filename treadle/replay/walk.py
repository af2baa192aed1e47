"""The walk: window by window every policy answers, labels come late, every policy looks and may retrain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from treadle.cost import meter
from treadle.errors import BadData
from treadle.replay.course import Course
from treadle.replay.policies import EveryWindow, Look, Moment, OnEvidently, Policy, Standing, Static, Trained
from treadle.replay.stream import Span
from treadle.replay.wheel import OnTreadle

MAKERS: dict[str, Callable[[Course], Policy]] = {
    "static": Static,
    "every-window": EveryWindow,
    "evidently": OnEvidently,
    "treadle": OnTreadle,
}
POLICIES = tuple(MAKERS)
Say = Callable[[int, int, pd.Timestamp], None]
"""Takes the number of a window that is over, how many there are, and its end."""


@dataclass(frozen=True)
class Passed:
    """One window of one policy.

    Attributes:
        span: The window.
        rows: Labelled rows in it.
        error: Over them; NaN when there are none.
        retrained: Whether a training ran at its end.
        promoted: Whether its model answers from then on.
        verdict: `None` for a policy that has none.
        reason: In plain words.
    """

    span: Span
    rows: int
    error: float
    retrained: bool
    promoted: bool
    verdict: str | None
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a policy would have erred and spent.

    Attributes:
        name: Its name.
        error: Over all replayed rows that have a label.
        retrains: Trainings, whether their model was taken or not.
        promoted: Those whose model was.
        cpu_seconds: CPU seconds of the trainings and all that they caused; the first model, before the start, is not in it.
        watch_cpu_seconds: CPU seconds of the looks.
        windows: One by one.
    """

    name: str
    error: float
    retrains: int
    promoted: int
    cpu_seconds: float
    watch_cpu_seconds: float
    windows: tuple[Passed, ...]


@dataclass(frozen=True)
class Replay:
    """The course and what became of each policy on it."""

    course: Course
    outcomes: tuple[Outcome, ...]


@dataclass
class _Walker:
    """A policy on its way."""

    policy: Policy
    standing: Standing
    passed: list[Passed] = field(default_factory=list)
    promoted: int = 0
    cpu_seconds: float = 0.0
    watch_cpu_seconds: float = 0.0


def replay_policies(course: Course, names: Sequence[str] = POLICIES, say: Say | None = None) -> Replay:
    """Walk through all windows with every policy at once.

    Args:
        course: From `lay_out`.
        names: Some of `POLICIES`.
        say: Told after every window.

    Raises:
        BadData: No replayed row has a label.
    """
    stream = course.stream
    if not stream.labelled[stream.windows[0].first :].any():
        raise BadData(f"No row after {stream.start} has a value of '{stream.schema.target}': no error can be told.")
    walkers = [_begin(course, MAKERS[name](course)) for name in names]
    for number, span in enumerate(stream.windows):
        moment = Moment(span.end, span, stream.known(span.end))
        final = number == len(stream.windows) - 1
        for walker in walkers:
            _answer(course, walker.standing, span)
            _pass(course, walker, moment, final=final)
        if say:
            say(number + 1, len(stream.windows), span.end)
    return Replay(course, tuple(_outcome(course, walker) for walker in walkers))


def _begin(course: Course, policy: Policy) -> _Walker:
    n = len(course.stream.frame)
    first = policy.first if isinstance(policy, OnTreadle) else course.first
    return _Walker(policy, Standing(first, np.full(n, np.nan), np.zeros(n, dtype=np.int64)))


def _answer(course: Course, standing: Standing, span: Span) -> None:
    """Answer the window's rows before any of their labels is known."""
    if span.first == span.last:
        return
    rows = np.arange(span.first, span.last)
    answers = course.predict(standing.version.model, rows)
    standing.answered_by[rows] = standing.version.number
    if standing.answers is None:
        standing.answers = np.full((len(course.y), *answers.shape[1:]), np.nan)
    standing.answers[rows] = answers
    labelled = np.isfinite(course.y[rows])
    standing.losses[rows[labelled]] = course.losses(rows[labelled], answers[labelled])


def _pass(course: Course, walker: _Walker, moment: Moment, *, final: bool) -> None:
    """Look at the end of a window, and retrain if the policy says so; after the last there is nothing to retrain for."""
    look, trained = Look(False, "The replay is over."), None
    if not final:
        with meter() as spent:
            look = walker.policy.look(walker.standing, moment)
        walker.watch_cpu_seconds += spent.cpu_seconds
    if look.retrain:
        trained = _retrain(walker, moment)
    losses = walker.standing.losses[moment.window.first : moment.window.last]
    known = int(np.isfinite(losses).sum())
    walker.passed.append(
        Passed(
            span=moment.window,
            rows=known,
            error=course.error(losses),
            retrained=trained is not None,
            promoted=trained is not None and trained.version is not None,
            verdict=look.verdict,
            reason=f"{look.reason} {trained.reason}".strip() if trained else look.reason,
        )
    )


def _retrain(walker: _Walker, moment: Moment) -> Trained:
    try:
        trained = walker.policy.retrain(walker.standing, moment)
    except BadData as error:  # such as a window of history in which a class is missing; the old model stays
        trained = Trained(None, f"It could not be trained: {error}", 0.0)
    walker.standing.retrains.append((moment.at, trained.cpu_seconds))
    walker.cpu_seconds += trained.cpu_seconds
    if trained.version is not None:
        walker.standing.version = trained.version
        walker.promoted += 1
    return trained


def _outcome(course: Course, walker: _Walker) -> Outcome:
    return Outcome(
        name=walker.policy.name,
        error=course.error(walker.standing.losses),
        retrains=len(walker.standing.retrains),
        promoted=walker.promoted,
        cpu_seconds=walker.cpu_seconds,
        watch_cpu_seconds=walker.watch_cpu_seconds,
        windows=tuple(walker.passed),
    )


def as_record(replay: Replay) -> dict[str, Any]:
    """A replay as plain data: what `treadle replay --json` prints, but for the recommendation."""
    course, stream = replay.course, replay.course.stream
    return {
        "project": course.project.name,
        "metric": course.error_name,
        "policies": [_policy_record(outcome) for outcome in replay.outcomes],
        "from": stream.start.isoformat(),
        "to": stream.windows[-1].end.isoformat(),
        "every_s": stream.every.total_seconds(),
        "delay_s": stream.delay.total_seconds(),
        "rows": {"first": len(course.first.learned), "replayed": len(stream.frame) - stream.windows[0].first},
        "family": course.family,
        "params": course.params,
        "first_cpu_seconds": course.first_cpu_seconds,
        "notes": list(stream.notes),
    }


def _policy_record(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "error": outcome.error,
        "retrains": outcome.retrains,
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "promoted": outcome.promoted,
        "watch_cpu_seconds": round(outcome.watch_cpu_seconds, 3),
        "windows": [
            {
                "from": passed.span.begin.isoformat(),
                "to": passed.span.end.isoformat(),
                "rows": passed.rows,
                "error": passed.error if passed.rows else None,
                "retrained": passed.retrained,
                "promoted": passed.promoted,
                "verdict": passed.verdict,
                "reason": passed.reason,
            }
            for passed in outcome.windows
        ],
    }
