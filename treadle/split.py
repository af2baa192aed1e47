"""Who learns, who compares trials, who judges, and what no model ever sees. Seeded, and never leaking.

Rows are named by their ids. Knows nothing of models or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.data import AT, ROW
from treadle.errors import BadData
from treadle.project import Project
from treadle.schema import Schema

MIN_ROWS = 50
MIN_JUDGES = 30


@dataclass(frozen=True)
class Split:
    """Row ids by part, and how they were divided, in plain words.

    Attributes:
        train: Learns in tuning.
        valid: Compares trials.
        test: Judges and decides; empty when a retrain has too few rows that the champion has not seen.
        holdout: Frozen at the first run; no model learns from it.
    """

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    holdout: tuple[str, ...]
    how: str


def split_rows(
    frame: pd.DataFrame, project: Project, schema: Schema, *, frozen: set[str] | None, seen: set[str] | None
) -> Split:
    """Divide labelled rows.

    Args:
        frame: Labelled rows with their internal columns.
        project: Says the shares, the seed, and how far back a retrain learns.
        schema: Says whether there is a time or a group column.
        frozen: Ids of the holdout; `None` draws it now.
        seen: Ids that the champion learned from; `None` when there is no champion.

    Raises:
        BadData: There are too few rows, or a class has too few.
    """
    if len(frame) < MIN_ROWS:
        raise BadData(f"{len(frame)} labelled rows are too few to split; bring {MIN_ROWS} or more.")
    rng = np.random.default_rng(project.split.seed)
    unit = _units(frame, schema)
    timed = schema.time is not None and bool(frame[AT].notna().all())
    strata = None if schema.classes is None else frame[schema.target].to_numpy()
    taken = np.zeros(len(frame), dtype=bool)
    if frozen is None:
        holdout = _draw_holdout(frame, unit, strata, project.split.holdout, rng, timed=timed)
    else:
        holdout = frame[ROW].isin(frozen).to_numpy()
    taken |= holdout
    if seen is None:
        test = _draw(frame, unit, strata, ~taken, project.split.test, rng, timed=timed)
        how = f"First run: {'the newest' if timed else 'a random'} {project.split.test:.0%} judge."
    else:
        test = _unseen(frame, unit, strata, ~taken & ~frame[ROW].isin(seen).to_numpy(), project, rng, timed=timed)
        how = _say_retrain(int(test.sum()))
    taken |= test
    rest = ~taken & _within_history(frame, project, timed=timed)
    valid = _draw(frame, unit, strata, rest, project.split.valid, rng, timed=timed)
    parts = {"train": rest & ~valid, "valid": valid, "test": test, "holdout": holdout}
    _check(frame, schema, parts)
    ids = {name: tuple(frame[ROW][mask]) for name, mask in parts.items()}
    by = (
        "by time"
        if timed
        else f"by `{schema.group}`"
        if schema.group
        else "stratified"
        if schema.classes
        else "at random"
    )
    return Split(
        **ids, how=f"{how} Split {by}, seed {project.split.seed}; {int(holdout.sum()):,} rows are held out for good."
    )


def _units(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """What must stay together (n,): rows of one group, and exact repeats of a row."""
    if schema.group:
        return pd.factorize(frame[schema.group], use_na_sentinel=False)[0]
    return pd.factorize(frame[ROW].str.split("#").str[0])[0]


def _draw(
    frame: pd.DataFrame, unit: np.ndarray, strata: Any, among: np.ndarray, share: float, rng: Any, *, timed: bool
) -> np.ndarray:
    """A mask (n,) of about `share` of the rows of `among`: the newest when timed, else whole units at random."""
    wanted = round(share * int(among.sum()))
    return _newest(frame, among, wanted) if timed else _random(unit, strata, among, wanted, rng)


def _newest(frame: pd.DataFrame, among: np.ndarray, wanted: int) -> np.ndarray:
    """The newest rows of `among`; rows of one moment stay together."""
    mask = np.zeros(len(frame), dtype=bool)
    if wanted <= 0 or not among.any():
        return mask
    times = frame[AT].to_numpy()
    newest = np.sort(times[among])[-min(wanted, int(among.sum()))]
    return among & (times >= newest)


def _random(unit: np.ndarray, strata: Any, among: np.ndarray, wanted: int, rng: Any) -> np.ndarray:
    """Whole units at random, the same share of each class."""
    mask = np.zeros(len(unit), dtype=bool)
    if wanted <= 0:
        return mask
    share = wanted / max(1, int(among.sum()))
    first = pd.Series(np.flatnonzero(among)).groupby(unit[among]).first()
    labels = np.zeros(len(first)) if strata is None else strata[first.to_numpy()]
    chosen: list[int] = []
    for label in pd.unique(pd.Series(labels)):
        units = first.index.to_numpy()[labels == label]
        chosen += list(rng.permutation(units)[: round(share * len(units))])
    mask[np.isin(unit, chosen)] = True
    return mask & among


def _draw_holdout(
    frame: pd.DataFrame, unit: np.ndarray, strata: Any, share: float, rng: Any, *, timed: bool
) -> np.ndarray:
    """With a time column whole days, evenly spread; else units at random."""
    if share == 0:
        return np.zeros(len(frame), dtype=bool)
    everything = np.ones(len(frame), dtype=bool)
    if not timed:
        return _random(unit, strata, everything, round(share * len(frame)), rng)
    day = frame[AT].dt.floor("D")
    number = pd.factorize(day, sort=True)[0]
    every = max(2, round(1 / share))
    if number.max() < 2 * every:  # a few days only: single moments instead
        number = pd.factorize(frame[AT], sort=True)[0]
    return number % every == every // 2


def _unseen(
    frame: pd.DataFrame, unit: np.ndarray, strata: Any, fresh: np.ndarray, project: Project, rng: Any, *, timed: bool
) -> np.ndarray:
    """Of the rows that the champion has not seen, the newest half (or a random half) judges."""
    wanted = min(max(MIN_JUDGES, int(fresh.sum()) // 2), project.watch.window)
    if fresh.sum() < MIN_JUDGES:
        return np.zeros(len(frame), dtype=bool)
    return _newest(frame, fresh, wanted) if timed else _random(unit, strata, fresh, wanted, rng)


def _say_retrain(judges: int) -> str:
    if judges:
        return f"Retrain: {judges:,} rows that the champion has not seen judge."
    return "Retrain: the champion has seen (nearly) every row, so the frozen holdout judges."


def _within_history(frame: pd.DataFrame, project: Project, *, timed: bool) -> np.ndarray:
    """Rows young enough to learn from."""
    if project.retrain.history == "all" or not timed:
        return np.ones(len(frame), dtype=bool)
    return (frame[AT] >= frame[AT].max() - pd.Timedelta(project.retrain.history)).to_numpy()


def _check(frame: pd.DataFrame, schema: Schema, parts: dict[str, np.ndarray]) -> None:
    for name in ("train", "valid"):
        if not parts[name].any():
            raise BadData(f"No rows are left for the {name} part; bring more rows, or lower the shares under split.")
    if not parts["test"].any() and not parts["holdout"].any():
        raise BadData("No rows are left to judge; bring more rows, or set split.holdout above 0.")
    if schema.classes:
        counts = frame[schema.target][parts["train"]].value_counts()
        rare = [name for name in schema.classes if counts.get(name, 0) < 2]
        if rare:
            raise BadData(
                f"The class '{rare[0]}' has fewer than 2 rows to learn from; bring more, or merge it into another."
            )
