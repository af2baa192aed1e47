"""What a comparison saw, in plain words: the values of a column then and now, in units that people know.

Values of rows are told as far as a column's may be: the means of many, and categories that many rows share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from treadle.wording import number, quoted

LEAST_SHARED = 5  # rows that share a new category before it is told
MOST_NEW = 3  # new categories that are told by name
SAME_MEAN = 0.1  # standard deviations; means that are nearer tell nothing of a change


def say_numbers(what: str, before: np.ndarray, now: np.ndarray) -> str:
    """How numbers moved, told by their means.

    >>> say_numbers("'age'", np.array([30.0, 40.0]), np.array([50.0, 60.0]))
    "'age' is 55 on average, 35 was normal (+4.00 standard deviations)"

    Args:
        what: The column in quotes, or what else the numbers are.
        before: Of the reference (n,), NaN where missing.
        now: Of the window (m,).
    """
    old, new = float(np.nanmean(before)), float(np.nanmean(now))
    moved = deviations(before, now)
    if abs(moved) < SAME_MEAN:
        return say_unlike(what, before, now)
    return f"{what} is {number(new)} on average, {number(old)} was normal ({moved:+.2f} standard deviations)"


def say_scores(what: str, before: np.ndarray, now: np.ndarray) -> str:
    """The same where the means themselves tell nobody anything, or may not be told."""
    moved = deviations(before, now)
    return (
        say_unlike(what, before, now)
        if abs(moved) < SAME_MEAN
        else f"{what} moved by {moved:+.2f} standard deviations on average"
    )


def say_share(what: str, before: np.ndarray, now: np.ndarray) -> str:
    """How often something is true, or the mean of probabilities.

    >>> say_share("the probability of 'yes'", np.array([0.1, 0.3]), np.array([0.5, 0.7]))
    "the probability of 'yes' is 60.0% on average, 20.0% was normal"
    """
    if abs(deviations(before, now)) < SAME_MEAN:
        return say_unlike(what, before, now)
    return f"{what} is {np.nanmean(now):.1%} on average, {np.nanmean(before):.1%} was normal"


def say_unlike(what: str, before: np.ndarray, now: np.ndarray) -> str:
    """That numbers about the same mean are distributed otherwise."""
    wider = float(np.nanstd(now)) / _spread(before)
    return f"{what} is distributed otherwise, {wider:.2f} times as wide, about the same mean"


def say_truth(name: str, yes: str, before: np.ndarray, now: np.ndarray) -> str:
    """In how many rows a boolean column is what it is called when it is true."""
    return f"'{name}' is {quoted(yes)} in {np.nanmean(now):.1%} of the rows, {np.nanmean(before):.1%} was normal"


def deviations(before: np.ndarray, now: np.ndarray) -> float:
    """By how many standard deviations of the first the mean moved."""
    return float(np.nanmean(now) - np.nanmean(before)) / _spread(before)


def _spread(values: np.ndarray) -> float:
    return float(np.nanstd(values)) or 1.0


def say_category(name: str, category: str | None, old: float, new: float) -> str:
    """How the share of a category changed; `None` is one that is not told."""
    if not new:
        return say_gone(name, category, old)
    one = "one category" if category is None else quoted(category)
    return f"{one} of '{name}' went from {old:.1%} to {new:.1%} of the rows"


def say_label(label: str | None, old: float, new: float) -> str:
    """How often a class is the label; `None` are classes that training never saw."""
    return f"{'other classes' if label is None else quoted(label)} went from {old:.1%} to {new:.1%} of the labels"


def say_others(name: str, old: float, new: float) -> str:
    """How the share of all rare categories together changed."""
    return f"rare and new categories of '{name}' together went from {old:.1%} to {new:.1%} of the rows"


def say_gone(name: str, category: str | None, share: float) -> str:
    """That a category is gone."""
    one = "a category" if category is None else quoted(category)
    return f"{one} of '{name}' is gone, {share:.1%} of the rows had it"


def say_new(name: str, categories: Sequence[str], count: int, now: float) -> str:
    """That there are categories that training never saw.

    >>> say_new("plan", ["gold"], 1, 0.2), say_new("plan", [], 7, 0.2)
    ("'gold' of 'plan' was never seen in training: 20.0% of the rows", "7 categories of 'plan' that training never saw: 20.0% of the rows")

    Args:
        name: The column.
        categories: Those that may be told, the most frequent first.
        count: How many there are.
        now: The share of the rows that have one of them.
    """
    told = list(categories[:MOST_NEW])
    if told and len(told) == count == 1:
        return f"{quoted(told[0])} of '{name}' was never seen in training: {now:.1%} of the rows"
    many = f"{count} categor{'y' if count == 1 else 'ies'} of '{name}' that training never saw"
    such = f" ({'' if len(told) == count else 'such as '}{', '.join(map(quoted, told))})" if told else ""
    return f"{many}{such}: {now:.1%} of the rows"


def say_fewer_new(name: str, now: float, usual: float) -> str:
    """That fewer rows than usual have a category that training never saw."""
    return f"{now:.1%} of the rows have a category of '{name}' that training never saw, {usual:.1%} would be normal"


def say_missing(name: str, now: float, before: float) -> str:
    """That more values are missing, or fewer."""
    return f"{now:.1%} of '{name}' is missing, {before:.1%} was normal"
