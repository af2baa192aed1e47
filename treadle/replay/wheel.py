"""The policy `treadle`: the platform's own probation, verdict, decision and train run, on the rows of a replay.

Decides by the functions that the watch and train flows call, and is charged all that they spend.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from treadle.cost import meter
from treadle.drift import Judgement, Window, judge
from treadle.drift import Look as Earlier
from treadle.learning.losses import loss_name
from treadle.learning.recipe import can_update
from treadle.promotion.probation import look_back
from treadle.replay.course import Course
from treadle.replay.policies import Look, Moment, Standing, Trained
from treadle.replay.retraining import Watched, first_watched, served_since, take_step, turn
from treadle.retraining.policy import Circumstances, Streak, decide
from treadle.retraining.steps import STEP, Followed, begun, growth_of, judge_steps, may_begin
from treadle.tables.data import AT
from treadle.window import baseline_of

MOST_LOOKS = 336


class OnTreadle:
    """Retrain when the platform would, replace when the duel says so, and roll back when labels do."""

    name = "treadle"

    def __init__(self, course: Course) -> None:
        self._course = course
        self._champion = first_watched(course)
        self.first = self._champion
        self._before: Watched | None = None
        self._since = course.stream.start
        self._versions = 1
        self._looks: list[Earlier] = []
        self._refused: list[pd.Timestamp] = []
        self._choice = self._champion.choice
        self._asking: str | None = None
        self._followed: Followed | None = None
        self._base = self._refit = self._champion

    def look(self, standing: Standing, moment: Moment) -> Look:
        """The probation, then the watch's verdict, then the project's policy."""
        self._follow_probation(standing, moment)
        self._follow_steps(standing, moment)
        found = self._judge(standing, moment)
        drifted = frozenset(finding.key for finding in found.findings if finding.drifted)
        self._looks = [Earlier(_aware(moment.at), drifted), *self._looks[: MOST_LOOKS - 1]]
        decision = decide(found.verdict, found.reason, self._course.project, self._circumstances(standing, moment))
        self._asking = decision.asking
        return Look(decision.retrain, decision.reason, found.verdict)

    def retrain(self, standing: Standing, moment: Moment) -> Trained:
        """A train run; the challenger replaces the champion if the duel says so, or if it is a step of a stream that is followed."""
        if self._asking == STEP:
            return self._step(standing, moment)
        with meter() as spent:
            turned = turn(self._course, self._champion, moment.known, self._choice)
        self._choice = turned.choice
        if turned.challenger is None:
            self._refused.insert(0, moment.at)
            return Trained(None, turned.duel.reason, spent.cpu_seconds)
        self._versions += 1
        self._replace(standing, replace(turned.challenger, number=self._versions), self._champion, moment)
        self._refused.clear()
        if may_begin(self._course.project, self._asking, held=len(self._course.holdout)):
            updates = can_update(self._course.stream.schema, self._course.family)
            self._followed = begun(self._versions, len(self._champion.seen), updates=updates)
            self._base = self._refit = self._champion
        learned = f"{turned.choice.history.name}, {len(turned.challenger.learned):,} rows"
        return Trained(self._champion, f"Learned from {learned}. {turned.duel.reason}", spent.cpu_seconds)

    def _step(self, standing: Standing, moment: Moment) -> Trained:
        """One fit, which answers from then on."""
        if self._followed is None or standing.answers is None:
            return Trained(None, "The stream is followed no more.", 0.0)
        rows = int(self._course.may_learn[moment.known].sum())
        refit = self._refit if self._followed.may_update(rows, growth_of(self._course.project) or 0) else None
        with meter() as spent:
            version, is_update = take_step(
                self._course, self._champion, moment.known, standing.answers, self._base, refit
            )
        self._versions += 1
        self._replace(standing, replace(version, number=self._versions), None, moment)
        self._followed = self._followed.step(self._versions, rows, is_update=is_update)
        if is_update:
            return Trained(self._champion, f"An update of version {self._refit.number}.", spent.cpu_seconds)
        self._refit = self._champion
        return Trained(self._champion, f"Learned from {len(version.learned):,} rows.", spent.cpu_seconds)

    def _follow_steps(self, standing: Standing, moment: Moment) -> None:
        """Judge the steps together when the next one is due; what was for the worse is undone."""
        course, followed = self._course, self._followed
        growth = growth_of(course.project)
        if followed is None or growth is None or followed.version != self._champion.number:
            self._followed = None
            return
        if followed.version == followed.base or self._new_labels(moment) < followed.needed(growth):
            return
        rows = served_since(course, self._base, moment.known)
        rows = rows[standing.answered_by[rows] > followed.base]
        then = course.losses(rows, course.predict(self._base.model, rows)) if len(rows) else np.empty(0)
        self._followed, state, _ = judge_steps(
            followed, standing.losses[rows], then, course.days[rows], first=course.project.watch.min_labelled,
            seed=course.project.split.seed,
        )  # fmt: skip
        if state == "pays":
            self._base = self._champion
        elif state == "worse":
            self._versions += 1
            self._refused.insert(0, moment.at)
            self._replace(standing, replace(self._base, number=self._versions), None, moment)
        if state in ("worse", "over"):
            self._followed = None

    def _replace(self, standing: Standing, version: Watched, before: Watched | None, moment: Moment) -> None:
        self._champion, self._before, self._since, self._looks = version, before, moment.at, []
        standing.version = version

    def _judge(self, standing: Standing, moment: Moment) -> Judgement:
        """The verdict on the newest rows that the champion answered, and on labelled ones that it answers again."""
        course, watch, schema = self._course, self._course.project.watch, self._course.stream.schema
        rows = standing.answered(watch.window)
        labelled = standing.judging(moment.known, course.stream.frame[AT].to_numpy(), watch.window)
        answers = standing.answers
        window = Window(
            self._features(rows),
            self._losses(standing, labelled),
            course.days[labelled],
            None if answers is None else answers[rows],
            course.y[labelled],
            self._features(labelled),
            baseline_of(self._champion.reference, course.y[labelled], course.problem, course.metric),
            loss=loss_name(course.metric),
            covered=int(np.isin(rows, moment.known).sum()),
        )
        seen = [column for column in schema.features if column.name not in course.project.privacy.redacted]
        return judge(
            self._champion.reference, window, seen, watch, course.project.split.seed, self._looks, _aware(moment.at),
            classes=schema.classes, untold=course.project.privacy.personal,
        )  # fmt: skip

    def _losses(self, standing: Standing, rows: np.ndarray) -> np.ndarray:
        """The champion's losses on labelled rows (n,): of what it answered then, or answers now where another version did."""
        losses = standing.losses[rows]
        again = standing.answered_by[rows] != self._champion.number
        if again.any():
            others = rows[again]
            losses[again] = self._course.losses(others, self._course.predict(self._champion.model, others))
        return losses

    def _follow_probation(self, standing: Standing, moment: Moment) -> None:
        """Put the version before back when labels say that it would have done better since the swap."""
        course, rules = self._course, self._course.project.promote.probation
        if self._before is None or rules.labels == 0 or course.project.privacy.redacted:
            return
        rows = standing.answered_and_known(moment.known, len(moment.known))[: rules.labels]
        look = look_back(
            self._champion.number,
            self._before.number,
            standing.losses[rows],
            course.losses(rows, course.predict(self._before.model, rows)) if len(rows) else np.empty(0),
            course.days[rows],
            first=min(course.project.watch.min_labelled, rules.labels),
            most=rules.labels,
            over=bool(moment.at - self._since >= pd.Timedelta(rules.time)),
            seed=course.project.split.seed,
        )
        if look.state == "failed":
            self._versions += 1  # what it answers from now on is judged anew
            self._refused.insert(0, moment.at)
            self._replace(standing, replace(self._before, number=self._versions), None, moment)
        elif look.state != "running":
            self._before = None

    def _circumstances(self, standing: Standing, moment: Moment) -> Circumstances:
        """What the policy weighs; the CPU minutes of the event day before stand for the ledger's."""
        day = moment.at - timedelta(days=1)
        return Circumstances(
            at=_aware(moment.at),
            retrains=[_aware(at) for at, _ in standing.retrains],
            new_labels=self._new_labels(moment),
            cpu_minutes=sum(cpu for at, cpu in standing.retrains if at > day) / 60,
            in_flight=False,
            streak=self._streak(moment),
            followed=self._followed,
        )

    def _new_labels(self, moment: Moment) -> int:
        """Labelled rows that are newer than what the champion learned from."""
        return len(served_since(self._course, self._champion, moment.known))

    def _streak(self, moment: Moment) -> Streak | None:
        """The challengers that were turned down in a row, and the labels that came since the last."""
        if not self._refused:
            return None
        came = len(moment.known) - len(self._course.stream.known(self._refused[0]))
        return Streak(len(self._refused), _aware(self._refused[0]), came)

    def _features(self, rows: np.ndarray) -> pd.DataFrame:
        stream = self._course.stream
        return stream.frame.iloc[rows][[c.name for c in stream.schema.features]].reset_index(drop=True)


def _aware(moment: pd.Timestamp) -> datetime:
    return moment.to_pydatetime().replace(tzinfo=UTC)
