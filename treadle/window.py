"""The ledger's rows as what a judgement takes: features, answers, losses and targets, aligned.

Works on rows that were read; knows no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from treadle.drift import Baseline, Reference, Window
from treadle.learning.losses import loss_name
from treadle.ledger import Row
from treadle.models.plain import shape_answers
from treadle.problems import Problem, load_problem, pick_metric
from treadle.project import Project
from treadle.promotion.hindsight import judging
from treadle.tables.data import AT
from treadle.tables.labeling import event_days, late_labels
from treadle.tables.schema import Schema

MOST_UNREADABLE = 0.5  # of a column's values; more is another type, not odd values


def window_of(
    rows: list[Row], labelled: list[Row], schema: Schema, project: Project, reference: Reference | None = None
) -> Window:
    """What is judged: the rows as they were sent, what was answered, and what is known of the truth by now.

    The losses are those of what the rows say was answered, not of a model of today. The reference, if it is given, says what
    the trivial baseline would have answered.
    """
    problem = load_problem(project.problem)
    known = _conformed(labelled, schema)
    targets, answers = problem.encode_target(known[schema.target], schema), answers_of(labelled, schema)
    metric = pick_metric(problem, project.promote.metric)
    return Window(
        as_sent(rows, features_of(rows, schema), schema, project.privacy.redacted),
        problem.row_losses(metric, targets, answers),
        event_days(known),
        answers_of(rows, schema),
        targets,
        known[[c.name for c in schema.features]],
        None if reference is None else baseline_of(reference, targets, problem, metric),
        loss=loss_name(metric),
        covered=sum(row.label is not None for row in rows),
    )


def baseline_of(reference: Reference, targets: np.ndarray, problem: Problem, metric: str) -> Baseline | None:
    """What the trivial baseline loses, by the targets that the reference keeps.

    Args:
        reference: Its targets are those of training, as far as they were kept.
        targets: Encoded labels of the window (k,).
        problem: Knows the baseline and the losses.
        metric: The project's.

    Returns:
        `None` where the targets were not kept, or a class is not among them.
    """
    then = reference.targets
    if then is None or not len(then) or (reference.answers is not None and _lacks_a_class(then, reference.answers)):
        return None
    normal, now = (problem.row_losses(metric, y, problem.baseline(then, len(y))) for y in (then, targets))
    return Baseline(float(normal.mean()), now)


def _lacks_a_class(targets: np.ndarray, answers: np.ndarray) -> bool:
    return answers.ndim > 1 and len(np.unique(targets)) < answers.shape[1]


def in_hindsight(
    labelled: list[Row], schema: Schema, version: int, learned_until: datetime | None,
    answer: Callable[[pd.DataFrame], np.ndarray],
) -> list[Row]:  # fmt: skip
    """The labelled rows that judge a version, each with its answer: what it said then, or says now where another version did.

    Args:
        labelled: In time order, of any version.
        schema: Types of the columns.
        version: Which is judged.
        learned_until: Event time of the newest row that it learned from; rows of others up to then are left out.
        answer: The version's answers (n,) or (n, classes) to conformed rows.
    """
    known = _conformed(labelled, schema)
    by = np.array([row.version for row in labelled], dtype=np.int64)
    until = None if learned_until is None else pd.Timestamp(learned_until).tz_localize(None).to_datetime64()
    judge = judging(version, by, known[AT].to_numpy(), until)
    others = np.flatnonzero(judge & (by != version))
    said = shape_answers(answer(known.iloc[others].reset_index(drop=True)), schema.classes) if len(others) else []
    anew = dict(zip(others.tolist(), said, strict=True))
    return [replace(row, answer=anew.get(i, row.answer)) for i, row in enumerate(labelled) if judge[i]]


def features_of(rows: list[Row], schema: Schema) -> pd.DataFrame:
    """The rows' features, conformed, in time order."""
    return _conformed(rows, schema)[[c.name for c in schema.features]]


def as_sent(rows: list[Row], frame: pd.DataFrame, schema: Schema, redacted: Iterable[str] = ()) -> pd.DataFrame:
    """The features (n, columns) where they fit their schema; what does not fit stays as it was sent, to be named.

    A column that no row has is left out, one that is mostly unreadable keeps its raw values, unknown ones are added.
    """
    sent: Counter[str] = Counter(name for row in rows for name in row.features)
    known = {column.name: column.kind for column in schema.features}
    outside = {schema.target, schema.time, schema.group, *schema.ignored, *redacted}
    changed = {name: _raw(rows, name) for name in sent if name not in known and name not in outside}
    for name, kind in known.items():
        if kind in ("number", "integer", "boolean") and sent[name]:
            raw = _raw(rows, name)
            if frame[name].isna().sum() - raw.isna().sum() > MOST_UNREADABLE * len(raw):
                changed[name] = raw
    absent = [name for name in known if rows and not sent[name] and name not in redacted]
    return frame.drop(columns=absent).assign(**changed)


def _raw(rows: list[Row], name: str) -> pd.Series:
    return pd.Series([row.features.get(name) for row in rows], dtype="object")


def answers_of(rows: list[Row], schema: Schema) -> np.ndarray:
    """What was answered: (n,) numbers, or (n, classes) probabilities."""
    if schema.classes:
        given = [[row.answer["probabilities"][name] for name in schema.classes] for row in rows]
        return np.array(given, dtype=np.float64).reshape(len(rows), len(schema.classes))
    return np.array([row.answer["prediction"] for row in rows], dtype=np.float64)


def _conformed(rows: list[Row], schema: Schema) -> pd.DataFrame:
    """All columns of the rows in their types, with event times."""
    empty = {c.name: pd.Series(dtype="object") for c in schema.columns} | {AT: pd.Series(dtype="datetime64[us]")}
    return late_labels(rows, schema, pd.DataFrame(empty)).frame
