"""Who learns, who compares trials, who judges, and what no model ever sees. Seeded, and never leaking.

Rows are named by their ids. Knows nothing of models or files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from treadle.errors import BadData
from treadle.learning.history import History
from treadle.project import Project
from treadle.tables.data import AT, ROW, SOURCE
from treadle.tables.schema import Schema

MIN_ROWS = 50
MIN_JUDGES = 30
LEAST_TO_LEARN = 2  # rows of a class
MOSTLY = 0.5  # share of rows with a time above which the split goes by time


@dataclass(frozen=True)
class Split:
    """Row ids by part, and how they were divided, in plain words.

    Attributes:
        train: Learns in tuning.
        valid: Compares trials.
        test: Judges and decides; empty when a retrain has too few rows that the champion has not seen.
        holdout: Frozen at the first run; no model learns from it.
        left_out: Too old to be learned from; they judge nothing either, now or later.
    """

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    holdout: tuple[str, ...]
    how: str
    left_out: tuple[str, ...] = ()

    def ids(self) -> dict[str, tuple[str, ...]]:
        """The row ids by part."""
        return {name: tuple(getattr(self, name)) for name in ("train", "valid", "test", "holdout", "left_out")}


def split_rows(
    frame: pd.DataFrame, project: Project, schema: Schema, *, frozen: set[str] | None, seen: set[str] | None
) -> Split:
    """Divide labelled rows.

    Args:
        frame: Labelled rows with their internal columns.
        project: Says the shares and the seed.
        schema: Says whether there is a time or a group column.
        frozen: Ids of the holdout; `None` draws it now.
        seen: Ids that the champion learned from; `None` when there is no champion.

    Raises:
        BadData: There are too few rows, or a class has too few.
    """
    if len(frame) < MIN_ROWS:
        raise BadData(f"{len(frame)} labelled rows are too few to split; bring {MIN_ROWS} or more.")
    table = _table_of(frame, project, schema)
    holdout = (
        _draw_holdout(table, frame, project.split.holdout) if frozen is None else frame[ROW].isin(frozen).to_numpy()
    )
    free = ~_with_their_units(table, holdout)
    if seen is None:
        test = _draw(table, free, project.split.test)
        how = f"First run: {'the newest' if table.timed else 'a random'} {project.split.test:.0%} judge."
    else:
        known = _with_their_units(table, frame[ROW].isin(seen).to_numpy())
        test = _unseen(table, free & ~known, project)
        how = _say_retrain(int(test.sum()))
    rest = free & ~test
    valid = _draw(table, rest, project.split.valid)
    parts = {"train": rest & ~valid, "valid": valid, "test": test, "holdout": holdout}
    _check(frame, schema, parts)
    ids = {name: tuple(frame[ROW][mask]) for name, mask in parts.items()}
    return Split(
        **ids,
        how=f"{how} Split {_say_by(table, schema)}, seed {project.split.seed}; "
        f"{int(holdout.sum()):,} rows are held out for good.",
    )


def bound(split: Split, frame: pd.DataFrame, project: Project, schema: Schema, history: History) -> Split:
    """The split without the learning rows that are older than the history's window; the newest of the rest compare.

    Raises:
        BadData: No rows, or too few of a class, are left to learn from.
    """
    if history.window is None:
        return split
    young = history.within(frame[AT].to_numpy())
    rest = frame[ROW].isin({*split.train, *split.valid, *split.left_out}).to_numpy()
    kept = rest & young
    valid = _draw(_table_of(frame, project, schema), kept, project.split.valid)
    parts = {"train": kept & ~valid, "valid": valid}
    judges = {name: frame[ROW].isin(set(getattr(split, name))).to_numpy() for name in ("test", "holdout")}
    _check(frame, schema, parts | judges)
    ids = {name: tuple(frame[ROW][mask]) for name, mask in (parts | {"left_out": rest & ~young}).items()}
    return replace(split, **ids)


@dataclass(frozen=True)
class _Table:
    """What a draw looks at, row by row (n,).

    Attributes:
        unit: Rows with one number stay in one part.
        strata: The classes, whose shares are kept; `None` for numbers.
        times: Event times; used when `timed`.
        grouped: Units are groups, which may spread over time.
    """

    unit: np.ndarray
    strata: np.ndarray | None
    times: pd.Series
    timed: bool
    grouped: bool
    rng: np.random.Generator


def _table_of(frame: pd.DataFrame, project: Project, schema: Schema) -> _Table:
    return _Table(
        unit=_units(frame, schema),
        strata=None if schema.classes is None else frame[schema.target].to_numpy(),
        times=frame[AT].fillna(frame[AT].min()),  # a row without a time is taken for the oldest, so it never judges
        timed=is_timed(frame, schema),
        grouped=schema.group is not None,
        rng=np.random.default_rng(project.split.seed),
    )


def is_timed(frame: pd.DataFrame, schema: Schema) -> bool:
    """Whether the rows go by time: the schema names a time column, and most rows have a time."""
    return schema.time is not None and bool(frame[AT].notna().mean() > MOSTLY)


def _units(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """What must stay together (n,): rows of one group, and exact repeats of a row."""
    if schema.group:
        return pd.factorize(frame[schema.group], use_na_sentinel=False)[0]
    return pd.factorize(frame[ROW].str.split("#").str[0])[0]


def _with_their_units(table: _Table, mask: np.ndarray) -> np.ndarray:
    """The rows of `mask` and all that must stay together with one of them, such as a repeat that came later."""
    return np.isin(table.unit, table.unit[mask])


def _say_by(table: _Table, schema: Schema) -> str:
    if table.grouped:
        return f"by {'time, in ' if table.timed else ''}whole `{schema.group}` groups"
    return "by time" if table.timed else "stratified" if schema.classes else "at random"


def _draw(table: _Table, among: np.ndarray, share: float) -> np.ndarray:
    """A mask (n,) of about `share` of the rows of `among`: the newest when timed, else whole units at random."""
    return _take(table, among, round(share * int(among.sum())))


def _take(table: _Table, among: np.ndarray, wanted: int) -> np.ndarray:
    if wanted <= 0 or not among.any():
        return np.zeros(len(among), dtype=bool)
    if not table.timed:
        return _random(table, among, wanted)
    return _newest_groups(table, among, wanted) if table.grouped else _newest(table, among, wanted)


def _newest(table: _Table, among: np.ndarray, wanted: int) -> np.ndarray:
    """The newest rows of `among`; rows of one moment stay together."""
    times = table.times.to_numpy()
    newest = np.sort(times[among])[-min(wanted, int(among.sum()))]
    return among & (times >= newest)


def _newest_groups(table: _Table, among: np.ndarray, wanted: int) -> np.ndarray:
    """Whole groups, those with the newest rows first; chance decides between groups that end at one moment."""
    groups = table.times[among].groupby(table.unit[among]).agg(["max", "size"])
    groups = groups.iloc[table.rng.permutation(len(groups))].sort_values("max", ascending=False, kind="stable")
    before = groups["size"].cumsum() - groups["size"]
    return among & np.isin(table.unit, groups.index[before < wanted])


def _random(table: _Table, among: np.ndarray, wanted: int) -> np.ndarray:
    """Whole units at random, the same share of each class."""
    share = wanted / int(among.sum())
    first = pd.Series(np.flatnonzero(among)).groupby(table.unit[among]).first()
    labels = np.zeros(len(first)) if table.strata is None else table.strata[first.to_numpy()]
    chosen: list[int] = []
    for label in pd.unique(pd.Series(labels)):
        units = first.index.to_numpy()[labels == label]
        chosen += list(table.rng.permutation(units)[: round(share * len(units))])
    return among & np.isin(table.unit, chosen)


def _draw_holdout(table: _Table, frame: pd.DataFrame, share: float) -> np.ndarray:
    """With a time column whole days, evenly spread; else, and with groups, units at random.

    Only of the project's own table: what callers sent as labels must not be what all versions are held against.
    """
    own = (frame[SOURCE] != "feedback").to_numpy()
    if share == 0:
        return np.zeros(len(own), dtype=bool)
    if table.grouped or not table.timed:
        return _random(table, own, round(share * int(own.sum()))) if own.any() else own
    number = pd.factorize(table.times.dt.floor("D"), sort=True)[0]
    every = max(2, round(1 / share))
    if number.max() < 2 * every:  # a few days only: single moments instead
        number = pd.factorize(table.times, sort=True)[0]
    return own & (number % every == every // 2)


def _unseen(table: _Table, fresh: np.ndarray, project: Project) -> np.ndarray:
    """Of the rows that the champion has not seen, the newest half (or a random half) judges."""
    if fresh.sum() < MIN_JUDGES:
        return np.zeros(len(fresh), dtype=bool)
    return _take(table, fresh, min(max(MIN_JUDGES, int(fresh.sum()) // 2), project.watch.window))


def _say_retrain(judges: int) -> str:
    if judges:
        return f"Retrain: {judges:,} rows that the champion has not seen judge."
    return "Retrain: the champion has seen (nearly) every row, so the frozen holdout judges."


def _check(frame: pd.DataFrame, schema: Schema, parts: dict[str, np.ndarray]) -> None:
    for name in ("train", "valid"):
        if not parts[name].any():
            raise BadData(f"No rows are left for the {name} part; bring more rows, or lower the shares under split.")
    if not parts["test"].any() and not parts["holdout"].any():
        raise BadData("No rows are left to judge; bring more rows, or set split.holdout above 0.")
    if schema.classes:
        counts = frame[schema.target][parts["train"]].value_counts()
        rare = [name for name in schema.classes if counts.get(name, 0) < LEAST_TO_LEARN]
        if rare:
            raise BadData(
                f"The class '{rare[0]}' has fewer than {LEAST_TO_LEARN} rows to learn from; "
                "bring more, or merge it into another."
            )
