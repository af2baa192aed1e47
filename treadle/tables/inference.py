"""What each column of a raw table is: numbers, dates, truths, categories, identifiers, free text, constants.

Guesses as a practitioner would, once; people correct it in `data.types`. Knows nothing of files or models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from treadle.errors import BadData, nearest
from treadle.tables.schema import Column, Schema
from treadle.tables.values import (
    BOOLEANS,
    MIXED,
    UNIX,
    UNIX_MS,
    as_text,
    convert,
    is_number,
    parse_times,
    to_numbers,
    to_seconds,
)

if TYPE_CHECKING:
    from treadle.project import Data, Kind

DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%m/%d/%y",
                "%d/%m/%y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%Y-%m", "%b %Y",
                "%B %Y", "%m/%Y")  # fmt: skip
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
TIME_FORMATS = ("", *(between + clock for between in (" ", ", ") for clock in CLOCKS))
DATE_LIKE = re.compile(
    r"^(\w{3,9},? )?(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})([^.\d]|$)"
    r"|\d{4}-\d{2}$|\d{1,2}/\d{4}$"
    r"|\d{1,2}(st|nd|rd|th)?[ -][A-Za-z]{3,9}\.?,?[ -]\d{2,4}|[A-Za-z]{3,9}\.? (\d{1,2}(st|nd|rd|th)?,? )?\d{4})"
)
CODE = re.compile(r"0\d+")
TIME_WORDS = re.compile(
    r"(?i)(^|_|\b)(time|timestamp|date|datetime|ts|epoch|day|at|created|updated|when)(_|\b|$)|Date$|Time$|At$"
)
ID_WORDS = re.compile(
    r"(?i)(^|[_\W])(id|uuid|guid|key|no|nr|number|index|unnamed|ticket|row)($|[_\W])|Id$|ID$|^column 1$"
)
CALENDAR_WORDS = re.compile(r"(?i)(^|[_\W])(year|yr|month|week|day|hour)s?($|[_\W])")
READABLE_SHARE = 0.98
MAX_MARKERS = 3
MAX_CATEGORIES = 1000
MANY = 20
"""Below so many rows nothing is called an identifier."""


def infer_schema(raw: pd.DataFrame, data: Data, problem: str) -> Schema:
    """Infer what each column is, once; `data.types` has the last word.

    Raises:
        BadData: The target, the time or the group column is not in the table, or the target cannot be this problem's.
    """
    for key, name in (("target", data.target), ("time", data.time), ("group", data.group)):
        if name is not None and name not in raw:
            raise no_column(key, name, raw)
    for name in data.types:
        if name not in raw:
            raise no_column("types", name, raw)
    classifies = problem.endswith("classification")
    kinds: dict[str, Kind] = dict(data.types)
    kinds[data.target] = "category" if classifies else "number"
    if data.time:
        kinds[data.time] = "datetime"
    columns = {str(name): infer_column(raw[name], kinds.get(str(name))) for name in raw.columns}
    classes = None
    if classifies:
        classes = tuple(sorted(set(as_text(raw[data.target]).dropna())))
        columns[data.target] = columns[data.target].model_copy(update={"categories": classes})
    elif columns[data.target].low is None:
        raise BadData(_no_numbers(raw[data.target], data.target))
    return Schema(
        columns=tuple(columns.values()),
        target=data.target,
        time=data.time,
        group=data.group,
        classes=classes,
        ignored=data.ignore,
    )


def no_column(key: str, name: str, raw: pd.DataFrame) -> BadData:
    """The error for a column that a project names and the table lacks."""
    names = [str(column) for column in raw.columns]
    listed = ", ".join(names[:30]) + (" …" if names[30:] else "")
    return BadData(f"No {key} column '{name}'. Columns: {listed}.{nearest(name, names)} (data.{key})")


def _no_numbers(values: pd.Series, target: str) -> str:
    present = as_text(values).dropna()
    if present.empty:
        return f"The target '{target}' is missing in every row; name another column under data.target."
    return f"The target '{target}' holds texts such as '{present.iloc[0][:40]}', no numbers; is it a classification?"


def infer_column(values: pd.Series, kind: Kind | None = None) -> Column:
    """What one raw column holds; `kind` skips the guess of the kind, not of how it is written."""
    name, text = str(values.name), as_text(values)
    present = text.dropna()
    if present.empty:
        return Column(name=name, kind=kind or "constant", nullable=True)
    traits = _traits_of(kind, values, present) if kind else _guess(values, present)
    column = Column(name=name, nullable=bool(text.isna().any()), **traits)
    if column.missing:
        column = column.model_copy(update={"nullable": True})
        values = values.mask(text.str.lower().isin(column.missing))
    return _with_range(column, convert(values, column))


def _traits_of(kind: Kind, values: pd.Series, present: pd.Series) -> dict[str, Any]:
    """How a column of a known kind is written."""
    if kind in ("number", "integer"):
        return {"kind": kind, "missing": _missing_numbers(values, present)}
    if kind == "datetime":
        return {"kind": kind, **(_times(values, present) or {})}
    if kind == "boolean":
        return {"kind": kind, "tokens": None if is_number(values) else _tokens(present)}
    return {"kind": kind}


def _guess(values: pd.Series, present: pd.Series) -> dict[str, Any]:
    """Kind and traits of a column that holds at least one value: the first look that recognises it."""
    for look in (_as_constant, _as_date, _as_boolean, _as_number, _as_time):
        traits = look(values, present)
        if traits is not None:
            return traits
    return {"kind": _words(present)}


def _as_constant(values: pd.Series, present: pd.Series) -> dict[str, Any] | None:
    """One value everywhere. One value here and nothing there says something: that is a category."""
    if present.nunique() > 1:
        return None
    gaps = len(values) - len(present)
    informative = min(gaps, len(present)) >= 5 and not pd.api.types.is_datetime64_any_dtype(values)
    return {"kind": "category" if informative else "constant"}


def _as_date(values: pd.Series, _present: pd.Series) -> dict[str, Any] | None:
    return {"kind": "datetime"} if pd.api.types.is_datetime64_any_dtype(values) else None


def _as_boolean(values: pd.Series, present: pd.Series) -> dict[str, Any] | None:
    if is_number(values):
        return None
    tokens = _tokens(present)
    return {"kind": "boolean", "tokens": tokens} if tokens else None


def _tokens(present: pd.Series) -> tuple[str, str] | None:
    """The (false, true) texts of a column that says yes and no, as written."""
    written = {value.lower(): value for value in present.unique()[:10]}
    for false, true in BOOLEANS:
        if set(written) == {false, true}:
            return written[false], written[true]
    return None


def _as_number(values: pd.Series, present: pd.Series) -> dict[str, Any] | None:
    """Numbers, whole numbers, or numbers that only name things."""
    missing = _missing_numbers(values, present)
    numbers = to_numbers(values if is_number(values) else present).dropna()
    unread = len(present) - len(numbers)
    if not len(numbers) or (not is_number(values) and present.str.fullmatch(CODE).any()):  # 00123 is a code
        return None
    if unread and (numbers.nunique() <= 10 or not (missing or unread <= (1 - READABLE_SHARE) * len(present))):
        return None
    if (time := _number_time(str(values.name), numbers)) is not None:
        return {"kind": "datetime", "format": time, "missing": missing}
    whole = bool((numbers % 1 == 0).all())
    if whole and _names_things(str(values.name), numbers):
        return {"kind": "identifier"}
    return {"kind": "integer" if whole else "number", "missing": missing}


def _missing_numbers(values: pd.Series, present: pd.Series) -> tuple[str, ...]:
    """The few texts that stand where a number is missing."""
    return () if is_number(values) else _markers(present[to_numbers(present).isna()], len(present))


def _markers(unread: pd.Series, rows: int) -> tuple[str, ...]:
    """The texts that mean "missing": few different ones, each again and again, without a digit, in under half of `rows`.

    What is there once is a slip of the pen: such a row is for the quarantine.
    """
    counts = unread.str.lower().value_counts()
    few = 0 < len(counts) <= MAX_MARKERS and len(unread) < 0.5 * rows
    again = bool(few) and (len(unread) > (1 - READABLE_SHARE) * rows or counts.min() > 1)
    digits = any(re.search(r"\d", str(word)) for word in counts.index)
    return tuple(sorted(map(str, counts.index))) if again and not digits else ()


def _number_time(name: str, numbers: pd.Series) -> str | None:
    """The format of times written as numbers, in columns that are called like a time: 20110315, or an epoch."""
    if not TIME_WORDS.search(name) or not (numbers % 1 == 0).all():
        return None
    low, high = numbers.min(), numbers.max()
    if low >= 19000101 and high <= 21001231:
        days = numbers.astype("int64").astype("str")
        return "%Y%m%d" if pd.to_datetime(days, format="%Y%m%d", errors="coerce").notna().all() else None
    for form, scale in ((UNIX, 1), (UNIX_MS, 1000)):
        if low >= 3e8 * scale and high <= 4e9 * scale:
            return form
    return None


def _names_things(name: str, numbers: pd.Series) -> bool:
    """Whether whole numbers count or name the rows rather than measure something."""
    unique = numbers.is_unique and len(numbers) > MANY
    counts = unique and bool((numbers.diff().dropna() == 1).all()) and not CALENDAR_WORDS.search(name)
    called = ID_WORDS.search(name) is not None
    return counts or (called and len(numbers) > MANY and numbers.nunique() > 0.5 * len(numbers))


def _as_time(values: pd.Series, present: pd.Series) -> dict[str, Any] | None:
    traits = _times(values, present)
    return None if traits is None else {"kind": "datetime", **traits}


def _times(values: pd.Series, present: pd.Series) -> dict[str, Any] | None:
    """The format in which a column writes times, or nothing if it does not."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return {"format": None}
    if is_number(values):
        form = _number_time("time", to_numbers(values).dropna())
        return {"format": form} if form else None
    different = pd.Series(present.unique(), dtype="str")
    dated = different[different.str.match(DATE_LIKE)]
    markers = _markers(present[~present.isin(dated)], len(present))
    if len(dated) < READABLE_SHARE * len(different) and not (markers and len(dated)):
        form = _number_time("time", to_numbers(present).dropna()) if to_numbers(present).notna().all() else None
        return {"format": form} if form else None
    form, read = _best_format(dated)
    return {"format": form, "missing": markers} if read >= READABLE_SHARE else None


def _best_format(dated: pd.Series) -> tuple[str | None, float]:
    """The format that reads most of the different texts, and the share that it reads.

    Where day and month could be either way round, the reading in which the times are in order wins, then the American.
    """
    sample = dated if len(dated) <= 5000 else dated.iloc[:: len(dated) // 5000 + 1]
    if sample.str.match(r"\d{4}-\d{2}-\d{2}").all():
        return None, _share(parse_times(sample, None))
    found: list[tuple[bool, str]] = []
    head = sample.iloc[:50]
    for day in DATE_FORMATS:
        for form in (day + time for time in TIME_FORMATS):
            if _share(pd.to_datetime(head, format=form, errors="coerce")) < 0.5:
                continue
            times = pd.to_datetime(sample, format=form, errors="coerce")
            if _share(times) >= READABLE_SHARE:
                found.append((times.dropna().is_monotonic_increasing or times.dropna().is_monotonic_decreasing, form))
    if found:
        return max(found, key=lambda item: item[0])[1], 1.0
    return MIXED, _share(parse_times(sample, MIXED))


def _share(times: pd.Series) -> float:
    return float(times.notna().mean()) if len(times) else 0.0


def _words(present: pd.Series) -> Kind:
    """Texts: names of things, free text, or categories."""
    rows, distinct = len(present), present.nunique()
    words, letters = (present.str.count(r"\s+") + 1).mean(), present.str.len().mean()
    if rows > MANY and distinct > 0.9 * rows:
        return "text" if words >= 3 or letters > 50 else "identifier"
    if distinct > 0.3 * rows and (words >= 5 or letters > 60) and rows > MANY:
        return "text"
    if distinct > 0.5 * rows and distinct > 50:
        return "text"
    return "category"


def _with_range(column: Column, values: pd.Series) -> Column:
    """The column with what was seen in it: categories, range, an example."""
    present = values.dropna()
    if present.empty:
        return column
    seen: dict[str, object] = {}
    first = present.iloc[0]
    if column.kind in ("number", "integer", "boolean"):
        example = bool(first) if column.kind == "boolean" else float(first)
        seen = {"low": float(present.min()), "high": float(present.max()), "example": example}
    elif column.kind == "datetime":
        seconds = to_seconds(present)
        seen = {"low": float(seconds.min()), "high": float(seconds.max()), "example": first.isoformat()}
    else:
        seen = {"example": str(first)[:200]}
        if column.kind == "category":
            seen["categories"] = tuple(present.value_counts().index[:MAX_CATEGORIES])
    return column.model_copy(update=seen)
