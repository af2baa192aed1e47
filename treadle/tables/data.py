"""Tables: typed once by a schema, named row by row, kept as snapshots that are named by their content.

Knows columns and rows; how a file is read is in `reading`, what a column is in `inference`. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

from treadle.errors import BrokenTable, NotFound, nearest
from treadle.project import Project
from treadle.settings import Settings
from treadle.tables.inference import infer_column, infer_schema
from treadle.tables.reading import read_table
from treadle.tables.schema import Column, Schema
from treadle.tables.values import as_text, convert, to_seconds

__all__ = [
    "AT", "BAD", "INTERNAL", "ROW", "SOURCE", "conform", "conform_features", "digest", "infer_column", "infer_schema",
    "load_schema", "load_snapshot", "read_source", "read_table", "row_ids", "snapshot",
    "to_seconds",
]  # fmt: skip

ROW, AT, SOURCE, BAD = "__row__", "__at__", "__source__", "__bad__"
"""Internal columns of a snapshot: a stable row id, the event time, where the label came from, and (only when there are
such cells) what could not be read in the row."""
INTERNAL = (ROW, AT, SOURCE, BAD)


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table in the schema's types, with its row ids, event times and source; other columns are left out.

    Single cells that cannot be read become missing and are named in the row's `BAD` column, so that validation can set
    the row aside. Columns that nothing learns from may be absent.

    Raises:
        BrokenTable: A column is missing, or most of its values are not of its kind.
    """
    frame, unread = _typed(raw, schema.columns, _needed(schema))
    internal = {
        ROW: row_ids(frame),
        AT: frame[schema.time] if schema.time else pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us]"),
        SOURCE: pd.Series("table", index=frame.index, dtype="str"),
    }
    if unread:
        internal[BAD] = _reasons(unread, frame.index)
    return frame.assign(**internal)


def conform_features(raw: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, dict[str, int]]:
    """Only the columns that models see, in the schema's types; the target need not be there.

    Returns:
        The columns, and by column how many cells could not be read and so are missing.
    """
    frame, unread = _typed(raw, schema.features, {column.name for column in schema.features})
    return frame, {name: len(cells) for name, cells in unread.items()}


def _needed(schema: Schema) -> set[str]:
    """Columns without which nothing can be learned."""
    named = {schema.target, schema.time, schema.group} - {None}
    return {column.name for column in schema.features} | {str(name) for name in named}


def _typed(
    raw: pd.DataFrame, columns: tuple[Column, ...], needed: set[str]
) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The typed columns, and by column a text for each cell that could not be read."""
    missing = [c.name for c in columns if c.name in needed and c.name not in raw]
    if missing:
        raise BrokenTable(
            f"The table lacks the column '{missing[0]}'{f' and {len(missing) - 1} more' if missing[1:] else ''}."
            f"{nearest(missing[0], map(str, raw.columns))} Mend the table, or its schema.json."
        )
    raw = raw.reset_index(drop=True)
    typed, unread = {}, {}
    for column in columns:
        values = raw[column.name] if column.name in raw else pd.Series(None, index=raw.index, dtype="str")
        typed[column.name], lost = _read_column(values, column)
        if len(lost):
            unread[column.name] = f"{column.name}: '" + lost.str.slice(0, 60) + f"' is no {column.kind}"
    return pd.DataFrame(typed, index=raw.index), unread


def _read_column(values: pd.Series, column: Column) -> tuple[pd.Series, pd.Series]:
    """One column converted, and the texts of the cells that could not be.

    Raises:
        BrokenTable: So much is unreadable that it must be another column.
    """
    converted = convert(values, column)
    gaps = converted.isna()
    if not gaps.any() or column.kind not in ("number", "integer", "boolean", "datetime"):
        return converted, pd.Series(dtype="str")
    lost = as_text(values[gaps], column.missing).dropna()
    if len(lost) > 0.5 * (len(values) - int(gaps.sum()) + len(lost)):
        way = "write its times as 2024-12-31T14:30:00+01:00" if column.kind == "datetime" else "mend the table"
        raise BrokenTable(
            f"The column '{column.name}' should be {column.kind}, but most of its values are not, such as "
            f"'{lost.iloc[0][:40]}'; {way}, or say its kind under data.types."
        )
    return converted, lost


def _reasons(unread: dict[str, pd.Series], index: pd.Index) -> pd.Series:
    """Per row what could not be read, joined by semicolons; missing where all could."""
    return pd.concat(unread.values()).groupby(level=0).agg("; ".join).reindex(index).astype("str")


def row_ids(frame: pd.DataFrame) -> pd.Series:
    """A stable id a row, made from its values; repeats of one row are numbered."""
    if frame.empty:
        return pd.Series(index=frame.index, dtype="str")
    hashes = pd.util.hash_pandas_object(frame, index=False)
    ids = pd.Series([f"t:{value:016x}" for value in hashes], index=frame.index, dtype="str")
    repeat = ids.groupby(ids).cumcount()
    return ids.where(repeat == 0, ids + "#" + (repeat + 1).astype("str")).astype("str")


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a table's column names and values, in order."""
    running = hashlib.sha256("\x1f".join(map(str, frame.columns)).encode())
    running.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return running.hexdigest()


def snapshot(frame: pd.DataFrame, settings: Settings, project: str) -> str:
    """Keep a table as Parquet, named by its content; the same table is kept once.

    Returns:
        The file's path.
    """
    path = settings.state_dir / "snapshots" / project / f"{digest(frame)[:16]}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        try:
            frame.to_parquet(temporary, index=False)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return str(path)


def load_snapshot(path: str | Path) -> pd.DataFrame:
    """Read what `snapshot` kept."""
    return pd.read_parquet(path)


def read_source(project: Project) -> pd.DataFrame:
    """The project's own table as it is written; see `read_table`.

    Raises:
        NotFound: It is not there; the message says which line of which file names it.
        BadData: It cannot be read.
    """
    try:
        return read_table(project.source, project.data.query)
    except NotFound as error:
        where = project.folder / "project.yaml"
        raise NotFound(
            f"{error} {where} names it as data.source; put it back, or write there where it is now."
        ) from None


def load_schema(project: Project) -> Schema:
    """The project's fixed schema; inferred from its source and written at the first call.

    What people change in `project.yaml` later holds: another kind, target or problem infers those columns anew.
    """
    path = project.folder / "schema.json"
    if not path.exists():
        schema = infer_schema(read_source(project), project.data, project.problem)
        schema.save(path)
        return schema
    schema = Schema.load(path)
    if _outdated(schema, project):
        schema = _inferred_again(schema, project)
        schema.save(path)
    return schema.model_copy(
        update={"ignored": project.data.ignore, "time": project.data.time, "group": project.data.group}
    )


def _outdated(schema: Schema, project: Project) -> bool:
    """Whether `project.yaml` says otherwise of a kind, the target, the time column or the problem."""
    data = project.data
    kinds = {column.name: column.kind for column in schema.columns}
    special = {data.target, data.time}
    changed = [name for name, kind in data.types.items() if name not in special and kinds.get(name) != kind]
    untimed = data.time is not None and kinds.get(data.time) != "datetime"
    classifies = project.problem.endswith("classification")
    return bool(changed) or untimed or data.target != schema.target or classifies != (schema.classes is not None)


def _inferred_again(schema: Schema, project: Project) -> Schema:
    """The schema by today's `project.yaml`; columns whose kind stays keep what was fixed."""
    raw = read_source(project)
    touched = {schema.target, project.data.target, project.data.time, *project.data.types}
    fixed = {column.name: column for column in schema.columns if column.name in raw and column.name not in touched}
    kinds = {name: column.kind for name, column in fixed.items()} | project.data.types
    fresh = infer_schema(raw, project.data.model_copy(update={"types": kinds}), project.problem)
    return fresh.model_copy(update={"columns": tuple(fixed.get(c.name, c) for c in fresh.columns)})
