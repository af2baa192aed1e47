"""A train run on the rows of a replay: split, history, rehearsal, refit, reference, duel, as the train flow does it.

What is decided here is decided by the functions that the flow's steps call; this file only hands them the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from treadle.drift import Reference
from treadle.learning.history import Choice, History
from treadle.learning.recipe import keep_to_history, pick_history
from treadle.learning.reference import make_reference, reference_from
from treadle.learning.split import MIN_JUDGES, Split, split_rows
from treadle.promotion.bout import Bout
from treadle.promotion.duel import Duel, hold_duel
from treadle.promotion.gate import FEWEST
from treadle.replay.course import Course, Version
from treadle.tables.data import AT, ROW


@dataclass(frozen=True)
class Watched(Version):
    """A version with what later judgements need.

    Attributes:
        reference: What was normal when it was trained.
        choice: What it learned from, and why.
        seen: Positions of the rows that it learned from or left out as too old: they judge it never.
    """

    reference: Reference
    choice: Choice
    seen: np.ndarray


def first_watched(course: Course) -> Watched:
    """The course's first version as the platform would watch it.

    What the first model learned from is what all policies begin with, so its history is not chosen.
    """
    first = course.first
    choice = Choice(History(), (), "The first version is the same for every policy.")
    reference = _reference(course, first.learned, choice.history)
    return Watched(
        first.number, first.model, first.learned, reference, choice, course.stream.known(course.stream.start)
    )


@dataclass(frozen=True)
class Turned:
    """What came of a train run.

    Attributes:
        challenger: The version that replaces the champion; `None` when the duel keeps the champion.
        duel: What it said.
        choice: What was learned from, which the next train run may keep.
    """

    challenger: Watched | None
    duel: Duel
    choice: Choice


def turn(course: Course, champion: Watched, known: np.ndarray, kept: Choice) -> Turned:
    """Train a challenger on what is known and hold the duel; what only a new champion needs is made for one alone.

    Args:
        course: The rows and the rules.
        champion: What answers now.
        known: Positions of the rows whose labels are known, in time order.
        kept: What the train run before learned from.

    Raises:
        BadData: The known rows cannot be split, or a class is missing among those that are learned from.
    """
    split, choice = _parts(course, champion, known, kept)
    rehearsed = _positions(course, known, [*split.train, *split.valid])
    judged = _positions(course, known, split.test or split.holdout)
    learned = _positions(course, known, [*split.train, *split.valid, *split.test])
    rehearsal, model = (course.fit(rows, choice.history) for rows in (rehearsed, learned))
    held = _positions(course, known, split.holdout)
    beside = bool(split.test) and len(held) >= FEWEST
    duel = hold_duel(
        _bout(course, judged, champion.model, rehearsal),
        _bout(course, held, champion.model, model) if beside else None,
        course.problem,
        course.metric,
        course.stream.schema,
        course.project.promote,
        seed=course.project.split.seed,
        versus=f"the champion (version {champion.number})",
    )
    if not split.test:
        duel = duel.on_holdout(MIN_JUDGES)
    if not duel.promote:
        return Turned(None, duel, choice)
    seen = _positions(course, known, [*split.train, *split.valid, *split.test, *split.left_out])
    reference = _reference(course, learned, choice.history)
    return Turned(Watched(champion.number + 1, model, learned, reference, choice, seen), duel, choice)


def take_step(
    course: Course, champion: Watched, known: np.ndarray, answers: np.ndarray, since: Watched, refit: Watched | None
) -> tuple[Watched, bool]:
    """Learn from all that is known but the frozen holdout: the history is kept, and what was served since the base is normal.

    Args:
        course: The rows and the rules.
        champion: What answers now.
        known: Positions of the rows whose labels are known, in time order.
        answers: What was answered to each row of the stream, (n,) or (n, n_classes).
        since: The version from which the steps began.
        refit: The version that an update goes on from; `None` for a refit.

    Returns:
        The version, and whether it is an update.

    Raises:
        BadData: A class is missing among the rows.
    """
    frame, history = course.stream.frame, champion.choice.history
    free = known[course.may_learn[known]]
    learned = free[history.within(frame[AT].to_numpy()[free])]
    updated = None if refit is None else course.update(refit.model, learned, history)
    model = course.fit(learned, history) if updated is None else updated
    judged = served_since(course, since, known)
    reference = reference_from(
        frame.iloc[np.setdiff1d(learned, judged)],
        frame.iloc[judged],
        answers[judged],
        course.stream.schema,
        course.problem,
        course.metric,
    )
    return replace(champion, model=model, learned=learned, reference=reference, seen=free), updated is not None


def served_since(course: Course, base: Watched, known: np.ndarray) -> np.ndarray:
    """Positions of the labelled rows that are newer than all that a version has learned from."""
    times = course.stream.frame[AT].to_numpy()
    return known[times[known] > times[base.learned].max()]


def _parts(course: Course, champion: Watched, known: np.ndarray, kept: Choice) -> tuple[Split, Choice]:
    """The split, without what is too old, and what is learned from."""
    project, schema = course.project, course.stream.schema
    table = course.stream.frame.iloc[known].reset_index(drop=True)
    seen = set(course.stream.frame[ROW].to_numpy()[champion.seen])
    split = split_rows(table, project, schema, frozen=set(course.holdout), seen=seen)
    choice = pick_history(project, schema, table, split, course.family, course.params, kept)
    return keep_to_history(split, table, project, schema, choice)


def _positions(course: Course, known: np.ndarray, ids: tuple[str, ...] | list[str]) -> np.ndarray:
    """Where the known rows with these ids are, in time order."""
    return known[np.sort(pd.Index(course.stream.frame[ROW].iloc[known]).get_indexer(pd.Index(ids)))]


def _bout(course: Course, rows: np.ndarray, champion: object, challenger: object) -> Bout:
    return Bout(
        course.y[rows],
        course.predict(champion, rows),
        course.predict(challenger, rows),
        course.stream.frame.iloc[rows].reset_index(drop=True),
        course.days[rows],
    )


def _reference(course: Course, learned: np.ndarray, history: History) -> Reference:
    rows = course.stream.frame.iloc[learned].reset_index(drop=True)
    seed = course.project.split.seed
    fit = lambda frame: course.fit_frame(frame, history)  # noqa: E731 - the shape that a reference asks for
    return make_reference(rows, course.stream.schema, course.problem, course.metric, fit, seed)[0]
