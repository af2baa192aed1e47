"""The policy `treadle`: the platform's own verdict, decision, split, gate and reference, on the rows of a replay.

What is decided here is decided by the functions that the watch and train flows call; this file only hands them the rows
and charges what they spend.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta

import numpy as np
import pandas as pd

from treadle.cost import meter
from treadle.data import AT, ROW
from treadle.drift import Reference, Window, judge
from treadle.gate import Gate, compare
from treadle.policy import Circumstances, decide
from treadle.reference import make_reference
from treadle.replay.course import Course, Version
from treadle.replay.policies import Look, Moment, Standing, Trained
from treadle.split import Split, split_rows


@dataclass(frozen=True)
class Watched(Version):
    """A version with its reference: what was normal when it was trained."""

    reference: Reference


class OnTreadle:
    """Retrain when the platform would, and replace only what the gate says is worse."""

    name = "treadle"

    def __init__(self, course: Course) -> None:
        self._course = course
        first = course.first
        self.first = Watched(first.number, first.model, first.learned, self._reference(first.learned))

    def look(self, standing: Standing, moment: Moment) -> Look:
        """The watch's verdict, then the project's policy."""
        course, watch = self._course, self._course.project.watch
        rows = standing.answered(watch.window)
        labelled = standing.answered_and_known(moment.known, watch.window)
        window = Window(self._features(rows), standing.losses[labelled], course.days[labelled])
        redacted = course.project.privacy.redacted
        seen = [column for column in course.stream.schema.features if column.name not in redacted]
        found = judge(self._watched(standing).reference, window, seen, watch, course.project.split.seed)
        decision = decide(found.verdict, found.reason, course.project, self._circumstances(standing, moment))
        return Look(decision.retrain, decision.reason, found.verdict)

    def retrain(self, standing: Standing, moment: Moment) -> Trained:
        """Split, rehearse, hold the gate, refit and make the reference, as a train run does."""
        with meter() as spent:
            version, reason = self._turn(standing, moment)
        return Trained(version, reason, spent.cpu_seconds)

    def _turn(self, standing: Standing, moment: Moment) -> tuple[Version | None, str]:
        course = self._course
        table = course.stream.frame.iloc[moment.known]
        ids = table[ROW].to_numpy()
        seen = set(course.stream.frame[ROW].to_numpy()[standing.version.learned])
        parts = split_rows(table, course.project, course.stream.schema, frozen=set(course.holdout), seen=seen)
        gate = self._gate(parts, standing, moment.known, ids)
        learned = moment.known[np.isin(ids, [*parts.train, *parts.valid, *parts.test])]
        model = course.fit(course.stream.frame.iloc[learned])
        version = Watched(standing.version.number + 1, model, learned, self._reference(learned))
        return (version if gate.promote else None), gate.reason

    def _gate(self, parts: Split, standing: Standing, known: np.ndarray, ids: np.ndarray) -> Gate:
        """The rehearsal against the champion on the rows that neither has learned from."""
        course = self._course
        rehearsed, judged = (
            known[np.isin(ids, some)] for some in ([*parts.train, *parts.valid], parts.test or parts.holdout)
        )
        rehearsal = course.fit(course.stream.frame.iloc[rehearsed])
        return compare(
            course.y[judged],
            course.predict(standing.version.model, judged),
            course.predict(rehearsal, judged),
            course.problem,
            course.metric,
            min_gain=course.project.promote.min_gain,
            confidence=course.project.promote.confidence,
            blocks=course.days[judged],
            seed=course.project.split.seed,
        )

    def _reference(self, learned: np.ndarray) -> Reference:
        course = self._course
        rows = course.stream.frame.iloc[learned].reset_index(drop=True)
        seed = course.project.split.seed
        return make_reference(rows, course.stream.schema, course.problem, course.metric, course.fit, seed)[0]

    def _circumstances(self, standing: Standing, moment: Moment) -> Circumstances:
        """What the policy weighs; the replayed CPU minutes of the event day stand for the ledger's."""
        times = self._course.stream.frame[AT].to_numpy()
        newest = times[standing.version.learned].max()
        day = moment.at - timedelta(days=1)
        return Circumstances(
            at=moment.at.to_pydatetime().replace(tzinfo=UTC),
            retrains=[at.to_pydatetime().replace(tzinfo=UTC) for at, _ in standing.retrains],
            new_labels=int((times[moment.known] > newest).sum()),
            cpu_minutes=sum(cpu for at, cpu in standing.retrains if at > day) / 60,
            in_flight=False,
        )

    def _features(self, rows: np.ndarray) -> pd.DataFrame:
        stream = self._course.stream
        return stream.frame.iloc[rows][[c.name for c in stream.schema.features]].reset_index(drop=True)

    @staticmethod
    def _watched(standing: Standing) -> Watched:
        if not isinstance(standing.version, Watched):
            raise TypeError("the policy treadle begins with a version that has a reference")
        return standing.version
