"""A stream: a project's rows in event time, the moment at which the replay begins, and the windows after it.

Knows when each label is known. Knows nothing of models or policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from treadle.durations import format_duration
from treadle.errors import BadData, BrokenTable, NotFound, nearest
from treadle.learning.split import MIN_ROWS
from treadle.project import Project
from treadle.tables.data import AT, ROW, conform, load_schema, read_source, read_table
from treadle.tables.schema import Schema

FIRST_SHARE = 1 / 3  # of the rows train the first model, when nobody says otherwise
USUAL_WINDOWS = 20
MOST_WINDOWS = 3000
LONGEST_DELAY = timedelta(days=7)


@dataclass(frozen=True)
class Span:
    """One window: event times from `begin` to just before `end`, rows from position `first` to before `last`."""

    begin: pd.Timestamp
    end: pd.Timestamp
    first: int
    last: int


@dataclass(frozen=True)
class Stream:
    """Rows in the order of their event times.

    Attributes:
        frame: Conformed rows with a time, (n, columns and internal ones).
        schema: Their types.
        start: Where the replay begins; all rows before it are labelled then.
        every: Length of a window.
        delay: How long after its event time a row's label is known.
        windows: From `start` to the newest row; some may hold no rows.
        notes: What was done to the rows, in plain words.
    """

    frame: pd.DataFrame
    schema: Schema
    start: pd.Timestamp
    every: timedelta
    delay: timedelta
    windows: tuple[Span, ...]
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> np.ndarray:
        """Which rows ever get a label, (n,) bool."""
        return self.frame[self.schema.target].notna().to_numpy()

    def known(self, moment: pd.Timestamp) -> np.ndarray:
        """Positions of the rows whose label is known at a moment, in time order."""
        times = self.frame[AT]
        came = (times < self.start) | (times + pd.Timedelta(self.delay) <= moment)
        return np.flatnonzero((came & (times < moment)).to_numpy() & self.labelled)


def read_stream(
    project: Project,
    stream: str | None = None,
    start: datetime | None = None,
    every: timedelta | None = None,
    delay: timedelta | None = None,
) -> Stream:
    """Read a project's rows, and those of a stream that came after them, and lay out the windows.

    Args:
        project: Names the source, the target and the time column.
        stream: Another table with the same columns, relative to the project's folder; rows that the source has too
            count once.
        start: Aware event time at which the replay begins. When left out: with a stream its first row, else when a
            third of the rows have passed.
        every: Length of a window; a twentieth of the replayed time when left out.
        delay: Event time until a label is known; a window's length, but at most a week, when left out.

    Raises:
        BadData: There is no time column, a column is missing, or no row is before or after `start`.
        NotFound: There is no such file.
    """
    if not project.data.time:
        raise BadData(
            f"'{project.name}' has no time column to replay by; name one under data.time in its project.yaml."
        )
    frame, schema, first_new = _rows_of(project, stream)
    frame, notes = _in_order(frame)
    begin = _start(frame, start, first_new)
    newest = frame[AT].iloc[-1]
    length = _usual_length(newest - begin) if every is None else every
    if length <= timedelta(0):
        raise BadData("A window of no length cannot be replayed; write --every like 30d.")
    _check_start(frame, schema, begin)
    late = delay if delay is not None else min(length, LONGEST_DELAY)
    return Stream(frame, schema, begin, length, late, _windows(frame, begin, length), notes)


def _rows_of(project: Project, stream: str | None) -> tuple[pd.DataFrame, Schema, pd.Timestamp | None]:
    """The conformed rows, their schema, and the first event time that only the stream has."""
    raw = read_source(project)
    _check_columns(raw, project, "The project's source")
    schema = load_schema(project)
    frame = conform(raw, schema)
    if stream is None:
        return frame, schema, None
    path = Path(stream) if Path(stream).is_absolute() else project.folder / stream
    if "://" not in stream and not path.is_file():
        raise NotFound(f"No stream {path}; name a table with the columns of the project, its time and its target.")
    later = read_table(stream if "://" in stream else str(path))
    _check_columns(later, project, str(path))
    typed = conform(later, schema)
    fresh = typed[~typed[ROW].isin(set(frame[ROW]))]
    if fresh[AT].isna().all():
        raise BadData(f"{path} has no row with a time that the project's source does not have already.")
    return pd.concat([frame, fresh], ignore_index=True), schema, fresh[AT].min()


def _check_columns(raw: pd.DataFrame, project: Project, where: str) -> None:
    for column in (project.data.time, project.data.target):
        if column not in raw:
            raise BrokenTable(
                f"{where} has no column '{column}'.{nearest(str(column), map(str, raw.columns))} "
                f"Columns: {', '.join(map(str, raw.columns))}."
            )


def _in_order(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows that have a time, sorted by it; rows of one moment keep their order."""
    timed = frame[frame[AT].notna()]
    if timed.empty:
        raise BadData("No row has a time that could be read; say the time column's kind under data.types.")
    notes = []
    if lost := len(frame) - len(timed):
        notes.append(f"{lost:,} rows without a time are left out.")
    if not timed[AT].is_monotonic_increasing:
        notes.append("The rows were not in the order of their times; they were sorted.")
    return timed.sort_values(AT, kind="stable", ignore_index=True), tuple(notes)


def _start(frame: pd.DataFrame, given: datetime | None, first_new: pd.Timestamp | None) -> pd.Timestamp:
    if given is not None:
        return pd.Timestamp(given.replace(tzinfo=None))
    if first_new is not None:
        return first_new.floor("D")
    return frame[AT].iloc[int(len(frame) * FIRST_SHARE)]


def _usual_length(span: pd.Timedelta) -> timedelta:
    """A twentieth of the replayed time, in whole days, hours or seconds."""
    length = span / USUAL_WINDOWS
    for unit in ("D", "h", "s"):
        if length >= pd.Timedelta(1, unit=unit):
            return length.ceil(unit).to_pytimedelta()
    return timedelta(seconds=1)


def _check_start(frame: pd.DataFrame, schema: Schema, begin: pd.Timestamp) -> None:
    newest = frame[AT].iloc[-1]
    if begin > newest:
        raise BadData(f"No row is after {begin}: the newest is of {newest}. Choose an earlier --from.")
    before = int((frame[AT] < begin).to_numpy().dot(frame[schema.target].notna().to_numpy().astype(int)))
    if before < MIN_ROWS:
        raise BadData(
            f"{before} labelled rows are before {begin}, the oldest row is of {frame[AT].iloc[0]}; the first model needs "
            f"{MIN_ROWS}. Choose a later --from."
        )


def _windows(frame: pd.DataFrame, begin: pd.Timestamp, every: timedelta) -> tuple[Span, ...]:
    """The windows from `begin` until the newest row is in one."""
    length = pd.Timedelta(every)
    count = int((frame[AT].iloc[-1] - begin) // length) + 1
    if count > MOST_WINDOWS:
        raise BadData(
            f"{format_duration(every)} makes {count:,} windows, at most {MOST_WINDOWS:,} are replayed; "
            "choose a longer --every, or a later --from."
        )
    edges = [begin + length * number for number in range(count + 1)]
    places = frame[AT].searchsorted(pd.DatetimeIndex(edges).to_numpy())
    return tuple(
        Span(edges[number], edges[number + 1], int(places[number]), int(places[number + 1])) for number in range(count)
    )
