"""Tables: read from anywhere, typed once by a schema, kept as snapshots that are named by their content.

Knows columns and rows; knows nothing of models.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from treadle.errors import BadData, BrokenTable, NotFound, nearest
from treadle.project import Data, Project
from treadle.schema import Column, Schema
from treadle.settings import Settings

if TYPE_CHECKING:
    from treadle.project import Kind

ROW, AT, SOURCE = "__row__", "__at__", "__source__"
"""Internal columns of a snapshot: a stable row id, the event time, and where the label came from."""
INTERNAL = (ROW, AT, SOURCE)

MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "nil", "-"}
BOOLEANS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"), ("off", "on"))
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M",
                "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%b %d, %Y", "%d %b %Y")  # fmt: skip
THOUSANDS = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
MAX_CATEGORIES = 1000


def read_table(source: str, query: str | None = None) -> pd.DataFrame:
    """Read a table as it is written: CSV and TSV as text, Parquet, JSON Lines and SQL with their own types.

    Args:
        source: A path, a SQLAlchemy URL (with `query`), or an fsspec URL.
        query: The SQL to run.

    Raises:
        NotFound: There is no such file.
        BadData: It is empty, is not a table, or is not UTF-8; the message says what to do.
    """
    if query is not None:
        return _read_sql(source, query)
    name = source.lower()
    content = _read_bytes(source)
    if not content.strip():
        raise BadData(f"{source} is empty.")
    try:
        if name.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(io.BytesIO(content))
        elif name.endswith((".jsonl", ".ndjson")):
            frame = pd.read_json(io.BytesIO(content), lines=True, dtype=False, convert_dates=False)
        elif name.endswith((".csv", ".tsv", ".txt", ".csv.gz")):
            frame = _read_csv(source, content)
        else:
            raise BadData(f"Cannot tell what {source} is; name a .csv, .tsv, .parquet or .jsonl file, or a SQL URL.")
    except BadData:
        raise
    except (ValueError, OSError, KeyError) as error:
        raise BadData(f"{source} is not a table: {' '.join(str(error).split())[:200]}") from error
    if frame.empty:
        raise BadData(f"{source} has a header but no rows.")
    return _plain_names(frame, source)


def _read_bytes(source: str) -> bytes:
    """All bytes of a local file or an fsspec URL."""
    if "://" in source:
        import fsspec

        try:
            with fsspec.open(source, "rb") as file:
                return file.read()  # type: ignore[no-any-return]
        except (OSError, ValueError, ImportError) as error:
            raise NotFound(f"Cannot read {source}: {' '.join(str(error).split())[:200]}") from error
    path = Path(source)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise NotFound(f"No file {source}.{nearest(path.name, beside)}")
    return path.read_bytes()


def _read_csv(source: str, content: bytes) -> pd.DataFrame:
    import gzip

    if source.lower().endswith(".gz"):
        content = gzip.decompress(content)
    if b"\x00" in content[:65536]:
        raise BadData(f"{source} is not a text file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadData(
            f"{source} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}. "
            f"Save it as UTF-8, for example: iconv -f latin1 -t utf-8 {Path(source).name}"
        ) from error
    separator = "\t" if source.lower().endswith(".tsv") else _separator(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise BadData(f"{source} is not a table: {' '.join(str(error).split())[:200]}") from error


def _separator(text: str) -> str:
    """The most frequent of the usual separators in the header line."""
    header = text.split("\n", 1)[0]
    return max(",;\t|", key=header.count)


def _read_sql(url: str, query: str) -> pd.DataFrame:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            frame = pd.read_sql(text(query), connection)
    except (SQLAlchemyError, ImportError) as error:
        raise BadData(f"The query failed: {' '.join(str(error).split())[:200]} (data.source, data.query)") from error
    if frame.empty:
        raise BadData("The query gave no rows (data.query).")
    return frame


def _plain_names(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Column names as text, each once, none of ours."""
    names = [str(name).strip() for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{source} has the column '{twice[0]}' twice; rename one.")
    if any(not name for name in names):
        raise BadData(f"{source} has a column without a name; name it in the header.")
    ours = [name for name in names if name in INTERNAL]
    if ours:
        raise BadData(f"{source} has a column '{ours[0]}', a name that Treadle uses itself; rename it.")
    return frame.set_axis(names, axis=1)


def infer_schema(raw: pd.DataFrame, data: Data, problem: str) -> Schema:
    """Infer what each column is, once; `data.types` has the last word.

    Raises:
        BadData: The target, the time or the group column is not in the table.
    """
    for key, name in (("target", data.target), ("time", data.time), ("group", data.group)):
        if name is not None and name not in raw:
            raise BadData(
                f"No {key} column '{name}'. Columns: {', '.join(raw.columns[:30])}.{nearest(name, raw.columns)} (data.{key})"
            )
    columns = []
    for name in raw.columns:
        kind = data.types.get(name)
        if name == data.target:
            kind = "category" if problem.endswith("classification") else "number"
        elif name == data.time:
            kind = "datetime"
        columns.append(infer_column(raw[name], kind))
    target = next(c for c in columns if c.name == data.target)
    classes = None
    if problem.endswith("classification"):
        classes = tuple(sorted(set(_as_text(raw[data.target]).dropna())))
        columns = [c.model_copy(update={"categories": classes}) if c is target else c for c in columns]
    return Schema(
        columns=tuple(columns), target=data.target, time=data.time, group=data.group, classes=classes, ignored=data.ignore
    )


def infer_column(values: pd.Series, kind: Kind | None = None) -> Column:
    """What one raw column holds; `kind` skips the guess."""
    text = _as_text(values)
    present = text.dropna()
    name, nullable = str(values.name), bool(text.isna().any())
    if present.empty:
        return Column(name=name, kind=kind or "constant", nullable=True)
    tokens, thousands, form = _tokens(present), False, None
    if kind is None:
        kind = _guess(values, present, tokens)
    if kind in ("number", "integer"):
        thousands = bool(present.str.fullmatch(THOUSANDS).any()) and not _is_number(values)
    if kind == "datetime" and not pd.api.types.is_datetime64_any_dtype(values):
        form = _date_format(present)
    column = Column(
        name=name, kind=kind, nullable=nullable, thousands=thousands, format=form,
        tokens=tokens if kind == "boolean" and not _is_number(values) else None,
    )  # fmt: skip
    return _with_range(column, _convert(values, column))


def _guess(values: pd.Series, present: pd.Series, tokens: tuple[str, str] | None) -> Kind:
    """The kind of a column that holds at least one value."""
    distinct = present.nunique()
    unique = distinct == len(present) and len(present) > 20
    if distinct == 1:
        return "constant"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "datetime"
    if tokens:
        return "boolean"
    numbers = pd.to_numeric(_without_thousands(present), errors="coerce")
    if numbers.notna().all():
        whole = bool((numbers % 1 == 0).all())
        looks_like_id = re.search(r"(^|[_\W])(id|uuid|key|no|nr|number|code)$|Id$|ID$", str(values.name)) is not None
        if whole and unique and (looks_like_id or _is_count(numbers)):
            return "identifier"
        return "integer" if whole else "number"
    if _date_format(present) is not None or _is_iso(present):
        return "datetime"
    words = present.str.split().str.len().mean()
    if unique or (distinct > 0.9 * len(present) and len(present) > 50 and words < 3):
        return "text" if words >= 3 else "identifier"
    if (words >= 5 and distinct > 0.3 * len(present)) or distinct > MAX_CATEGORIES:
        return "text"
    return "category"


def _is_count(numbers: pd.Series) -> bool:
    """Whether the values count the rows: 1, 2, 3 … in order."""
    return bool((numbers.diff().dropna() == 1).all())


def _is_number(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))


def _as_text(values: pd.Series) -> pd.Series:
    """Values as stripped text, with every way of writing "missing" as a missing value."""
    if pd.api.types.is_float_dtype(values):  # 1.0 and 1 are one class, one category
        whole = values.dropna()
        if len(whole) and np.isfinite(whole).all() and (whole % 1 == 0).all():
            values = values.astype("Int64")
    text = values.astype("string").str.strip()
    return text.mask(text.str.lower().isin(MISSING)).astype("str")


def _without_thousands(text: pd.Series) -> pd.Series:
    return text.where(~text.str.fullmatch(THOUSANDS), text.str.replace(",", "", regex=False))


def _tokens(present: pd.Series) -> tuple[str, str] | None:
    """The (false, true) texts of a column that says yes and no, as written."""
    seen = {value.lower() for value in present.unique()[:10]}
    for false, true in BOOLEANS:
        if seen == {false, true}:
            written = {value.lower(): value for value in present.unique()}
            return written[false], written[true]
    return None


def _is_iso(present: pd.Series) -> bool:
    sample = present.iloc[:200]
    if not sample.str.match(r"^\d{4}-\d{2}-\d{2}").all():
        return False
    return bool(pd.to_datetime(sample, errors="coerce", format="ISO8601", utc=True).notna().all())


def _date_format(present: pd.Series) -> str | None:
    """The first known format that reads every one of the first values; ISO 8601 needs none."""
    sample = present.iloc[:2000]
    if not sample.str.contains(r"\d[./ -]", regex=True).all() or _is_iso(present):
        return None
    for form in DATE_FORMATS:
        if pd.to_datetime(sample, format=form, errors="coerce").notna().all():
            return form
    return None


def _convert(values: pd.Series, column: Column) -> pd.Series:
    """Raw values in the dtype of their kind; what cannot be read becomes missing."""
    if column.kind == "datetime":
        return _to_datetime(values, column.format)
    if column.kind == "boolean":
        return _to_boolean(values, column)
    if column.kind in ("number", "integer"):
        if _is_number(values):
            return values.astype("float64")
        text = _as_text(values)
        return pd.to_numeric(_without_thousands(text), errors="coerce").astype("float64")
    return _as_text(values)


def _to_datetime(values: pd.Series, form: str | None) -> pd.Series:
    if not pd.api.types.is_datetime64_any_dtype(values):
        text = _as_text(values)
        values = pd.to_datetime(text, format=form or "ISO8601", errors="coerce", utc=True)
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values.astype("datetime64[us]")


def _to_boolean(values: pd.Series, column: Column) -> pd.Series:
    if column.tokens is None:
        return pd.to_numeric(values.astype("float64") if _is_number(values) else values, errors="coerce").astype("float64")
    false, true = (token.lower() for token in column.tokens)
    return _as_text(values).str.lower().map({false: 0.0, true: 1.0}).astype("float64")


def _with_range(column: Column, values: pd.Series) -> Column:
    """The column with what was seen in it: categories, range, an example."""
    present = values.dropna()
    if present.empty:
        return column
    seen: dict[str, object] = {}
    first = present.iloc[0]
    if column.kind in ("number", "integer", "boolean"):
        seen = {"low": float(present.min()), "high": float(present.max()), "example": float(first)}
        if column.kind == "boolean":
            seen["example"] = bool(first)
    elif column.kind == "datetime":
        seconds = to_seconds(present)
        seen = {"low": float(seconds.min()), "high": float(seconds.max()), "example": first.isoformat()}
    else:
        seen = {"example": str(first)[:200]}
        if column.kind == "category":
            seen["categories"] = tuple(present.value_counts().index[:MAX_CATEGORIES])
    return column.model_copy(update=seen)


def to_seconds(times: pd.Series) -> np.ndarray:
    """Epoch seconds (n,) float64 of naive UTC times; NaN where missing."""
    micros = times.astype("datetime64[us]")
    seconds = micros.astype("int64").to_numpy() / 1e6
    return np.where(micros.isna().to_numpy(), np.nan, seconds)


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table in the schema's types, with its row ids, event times and source; other columns are left out.

    Raises:
        BrokenTable: A column is missing, or most of its values are not of its kind.
    """
    frame = _typed(raw, schema.columns)
    return frame.assign(
        **{
            ROW: row_ids(frame),
            AT: frame[schema.time] if schema.time else pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us]"),
            SOURCE: pd.Series("table", index=frame.index, dtype="str"),
        }
    )


def conform_features(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Only the columns that models see, in the schema's types; the target need not be there."""
    return _typed(raw, schema.features)


def _typed(raw: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    missing = [c.name for c in columns if c.name not in raw]
    if missing:
        raise BrokenTable(
            f"The table lacks the column '{missing[0]}'{f' and {len(missing) - 1} more' if missing[1:] else ''}."
            f"{nearest(missing[0], raw.columns)} Mend the table, or its schema.json."
        )
    typed = {c.name: _checked(raw[c.name], c) for c in columns}
    return pd.DataFrame(typed).reset_index(drop=True)


def _checked(values: pd.Series, column: Column) -> pd.Series:
    """One column converted, unless so much is unreadable that it must be another column."""
    converted = _convert(values, column)
    unreadable = converted.isna() & _as_text(values).notna()
    if unreadable.sum() > 0.5 * max(1, len(values)):
        example = str(_as_text(values)[unreadable].iloc[0])[:40]
        raise BrokenTable(
            f"The column '{column.name}' should be {column.kind}, but most of its values are not, such as '{example}'. "
            "Mend the table, or say its kind under data.types."
        )
    return converted


def row_ids(frame: pd.DataFrame) -> pd.Series:
    """A stable id a row, made from its values; repeats of one row are numbered."""
    hashes = pd.util.hash_pandas_object(frame.astype({c: "float64" for c in frame.select_dtypes("bool")}), index=False)
    ids = "t:" + hashes.map("{:016x}".format)
    repeat = ids.groupby(ids).cumcount()
    return ids.where(repeat == 0, ids + "#" + (repeat + 1).astype(str)).astype("str")


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
        temporary = path.with_suffix(".part")
        frame.to_parquet(temporary, index=False)
        temporary.replace(path)
    return str(path)


def load_snapshot(path: str | Path) -> pd.DataFrame:
    """Read what `snapshot` kept."""
    return pd.read_parquet(path)


def load_schema(project: Project) -> Schema:
    """The project's fixed schema; inferred from its source and written at the first call."""
    path = project.folder / "schema.json"
    if path.exists():
        schema = Schema.load(path)
        return schema.model_copy(
            update={"ignored": project.data.ignore, "time": project.data.time, "group": project.data.group}
        )
    schema = infer_schema(read_table(project.source, project.data.query), project.data, project.problem)
    schema.save(path)
    return schema
