"""What a retraining policy is, and the three that everybody knows: never, at every window, on Evidently's verdict.

A policy sees what was known at the moment, decides, and trains; it never sees a label that has not come yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from treadle.promotion.hindsight import judging
from treadle.replay.course import Course, Version, within_history
from treadle.replay.evidently_rule import drift_share
from treadle.replay.stream import Span


@dataclass(frozen=True)
class Look:
    """What a policy says at the end of a window: whether to retrain, a verdict if it has one, and why."""

    retrain: bool
    reason: str
    verdict: str | None = None


@dataclass(frozen=True)
class Trained:
    """What came of a retrain.

    Attributes:
        version: The new version; `None` keeps the old one.
        reason: Why it was kept or replaced.
        cpu_seconds: All that the decision caused.
    """

    version: Version | None
    reason: str
    cpu_seconds: float


@dataclass(frozen=True)
class Moment:
    """The end of a window: its event time, the window, and the positions of the rows whose labels are known."""

    at: pd.Timestamp
    window: Span
    known: np.ndarray


@dataclass
class Standing:
    """How a policy stands, written by the walk alone.

    Attributes:
        version: What answers now.
        losses: The loss of each row's answer (n,); NaN where there is no answer, or no label ever.
        answered_by: The number of the version that answered each row (n,); 0 where none did.
        answers: The answers (n,) or (n, n_classes).
        retrains: When retrains were decided, and their CPU seconds.
    """

    version: Version
    losses: np.ndarray
    answered_by: np.ndarray
    answers: np.ndarray | None = None
    retrains: list[tuple[pd.Timestamp, float]] = field(default_factory=list)

    def answered(self, newest: int) -> np.ndarray:
        """Positions of the newest rows that the version of now answered, in time order."""
        return np.flatnonzero(self.answered_by == self.version.number)[-newest:]

    def answered_and_known(self, known: np.ndarray, newest: int) -> np.ndarray:
        """The same of the rows whose labels are known."""
        return known[self.answered_by[known] == self.version.number][-newest:]

    def judging(self, known: np.ndarray, times: np.ndarray, newest: int) -> np.ndarray:
        """Of the rows whose labels are known the newest that judge the version of now, whoever answered them first.

        Args:
            known: Their positions, in time order.
            times: Event times of all rows (n,).
            newest: How many at most.
        """
        until = times[self.version.learned].max()
        return known[judging(self.version.number, self.answered_by[known], times[known], until)][-newest:]


class Policy(Protocol):
    """When to retrain, and on what."""

    name: str

    def look(self, standing: Standing, moment: Moment) -> Look:
        """Decide at the end of a window."""
        ...

    def retrain(self, standing: Standing, moment: Moment) -> Trained:
        """Train as decided.

        Raises:
            BadData: The known rows cannot be learned from.
        """
        ...


class Static:
    """The first model, left alone."""

    name = "static"

    def __init__(self, course: Course) -> None:
        self._course = course

    def look(self, standing: Standing, moment: Moment) -> Look:  # noqa: ARG002 - the protocol's shape
        """Never."""
        return Look(False, "It never retrains.")

    def retrain(self, standing: Standing, moment: Moment) -> Trained:  # noqa: ARG002 - the protocol's shape
        """Keep the model."""
        return Trained(None, "It never retrains.", 0.0)


class EveryWindow:
    """Retrain at every window on all that is known, and replace without a question."""

    name = "every-window"

    def __init__(self, course: Course) -> None:
        self._course = course
        self._known = len(course.stream.known(course.stream.start))

    def look(self, standing: Standing, moment: Moment) -> Look:  # noqa: ARG002 - the protocol's shape
        """Always, unless no label has come since: then there is nothing new to learn."""
        if len(moment.known) == self._known:
            return Look(False, "The window is over, and no label has come.")
        return Look(True, "The window is over.")

    def retrain(self, standing: Standing, moment: Moment) -> Trained:
        """One fit."""
        self._known = len(moment.known)
        rows = within_history(self._course.project, self._course.stream, moment.known)
        model, cpu_seconds = self._course.fit_once(rows)
        return Trained(
            Version(standing.version.number + 1, model, rows), f"Learned from {len(rows):,} rows.", cpu_seconds
        )


class OnEvidently(EveryWindow):
    """Retrain as above, but only when Evidently's default preset calls the window drifted."""

    name = "evidently"

    def look(self, standing: Standing, moment: Moment) -> Look:
        """Ask the preset: half of the columns or more, by its default tests."""
        frame, schema = self._course.stream.frame, self._course.stream.schema
        window = frame.iloc[moment.window.first : moment.window.last]
        share = drift_share(frame.iloc[standing.version.learned], window, schema)
        if share is None:
            return Look(False, "Evidently could not judge this window.", "invalid")
        drifted = share.drifted >= share.limit
        said = f"{share.drifted:.0%} of the columns drifted by Evidently's default, {share.limit:.0%} is drift."
        return Look(drifted, said, "drift" if drifted else "ok")
