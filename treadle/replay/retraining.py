"""A train run on the rows of a replay: split, history, rehearsal, refit, reference, duel, as the train flow does it.

What is decided here is decided by the functions that the flow's steps call; this file only hands them the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from treadle.data import ROW
from treadle.drift import Reference
from treadle.duel import Bout, Duel, hold_duel
from treadle.gate import FEWEST
from treadle.history import Choice, History
from treadle.recipe import keep_to_history, pick_history
from treadle.reference import make_reference
from treadle.replay.course import Course, Version
from treadle.split import Split, split_rows


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


def turn(course: Course, champion: Watched, known: np.ndarray) -> tuple[Watched, Duel]:
    """Train a challenger on what is known and hold the duel.

    Args:
        course: The rows and the rules.
        champion: What answers now.
        known: Positions of the rows whose labels are known, in time order.

    Returns:
        The challenger, and what the duel said of it.

    Raises:
        BadData: The known rows cannot be split, or a class is missing among those that are learned from.
    """
    split, choice = _parts(course, champion, known)
    rehearsed = _positions(course, known, [*split.train, *split.valid])
    judged = _positions(course, known, split.test or split.holdout)
    learned = _positions(course, known, [*split.train, *split.valid, *split.test])
    seen = _positions(course, known, [*split.train, *split.valid, *split.test, *split.left_out])
    rehearsal = course.fit(rehearsed, choice.history)
    challenger = Watched(
        champion.number + 1,
        course.fit(learned, choice.history),
        learned,
        _reference(course, learned, choice.history),
        choice,
        seen,
    )
    held = _positions(course, known, split.holdout)
    beside = bool(split.test) and len(held) >= FEWEST
    duel = hold_duel(
        _bout(course, judged, champion.model, rehearsal),
        _bout(course, held, champion.model, challenger.model) if beside else None,
        course.problem,
        course.metric,
        course.stream.schema,
        course.project.promote,
        seed=course.project.split.seed,
        versus=f"the champion (version {champion.number})",
    )
    return challenger, duel


def _parts(course: Course, champion: Watched, known: np.ndarray) -> tuple[Split, Choice]:
    """The split, without what is too old, and what is learned from."""
    project, schema = course.project, course.stream.schema
    table = course.stream.frame.iloc[known].reset_index(drop=True)
    seen = set(course.stream.frame[ROW].to_numpy()[champion.seen])
    split = split_rows(table, project, schema, frozen=set(course.holdout), seen=seen)
    choice = pick_history(project, schema, table, split, course.family, course.params, champion.choice)
    return keep_to_history(split, table, project, schema, choice)


def _positions(course: Course, known: np.ndarray, ids: tuple[str, ...] | list[str]) -> np.ndarray:
    """Where the rows with these ids are, in time order."""
    return known[course.stream.frame[ROW].iloc[known].isin(set(ids)).to_numpy()]


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
