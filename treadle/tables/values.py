"""Raw values into the dtype of their column's kind: text, numbers, truths, times. What cannot be read becomes missing.

Knows one column at a time.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from treadle.tables.schema import Column

MISSING = ("", "?", "na", "n/a", "#n/a", "nan", "null", "<na>", "nat")
"""Ways of writing "missing" in any column, in lower case."""
BOOLEANS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"), ("off", "on"))
TRUTH = {false: 0.0 for false, _ in BOOLEANS} | {true: 1.0 for _, true in BOOLEANS} | {"0": 0.0, "1": 1.0}
GROUPERS = "[,' \u00a0\u2009\u202f]"
# These patterns also run inside pyarrow, whose engine (RE2) knows no look-ahead.
THOUSANDS = re.compile(rf"^[+-]?\d{{1,3}}({GROUPERS}\d{{3}})+(\.\d+)?$")
UNIT = re.compile(r"^([+-]?)[$€£¥]\s?|\s?[%$€£¥]$")
MIXED, UNIX, UNIX_MS = "mixed", "unix", "unix-ms"
"""Values of `Column.format` that are not `strptime` formats."""


def as_text(values: pd.Series, markers: tuple[str, ...] = ()) -> pd.Series:
    """Values as stripped text, with every way of writing "missing" as a missing value.

    Args:
        values: Of any dtype.
        markers: More texts that mean missing, in lower case.
    """
    if pd.api.types.is_float_dtype(values):  # 1.0 and 1 are one class, one category
        whole = values.dropna()
        if len(whole) and np.isfinite(whole).all() and (whole % 1 == 0).all() and whole.abs().max() < 2**62:
            values = values.astype("Int64")
    text = values.astype("string").str.strip()
    return text.mask(text.str.lower().isin([*MISSING, *markers])).astype("str")


def convert(values: pd.Series, column: Column) -> pd.Series:
    """Raw values (n,) in the dtype of the column's kind; what cannot be read, and infinities, become missing."""
    if column.kind == "datetime":
        return to_times(values, column.format)
    if column.kind == "boolean":
        return to_truths(values, column.tokens)
    if column.kind in ("number", "integer"):
        return to_numbers(values)
    return as_text(values)


def is_number(values: pd.Series) -> bool:
    """Whether the values are numbers already, and not truths."""
    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)


def to_numbers(values: pd.Series) -> pd.Series:
    """Numbers as float64; `1,234`, `$5` and `12 %` are read as people mean them."""
    if is_number(values):
        numbers = values.astype("Float64").astype("float64")
    else:
        text = as_text(values)
        numbers = _exact(text)
        odd = numbers.isna() & text.notna()
        if odd.any():
            different = pd.Series(text[odd].unique(), dtype="str")  # each text is read once: words repeat
            read = dict(zip(different, _exact(plain_number(different)), strict=True))
            numbers = numbers.mask(odd, text[odd].map(read).astype("float64"))
    return numbers.where(np.isfinite(numbers))


def _exact(text: pd.Series) -> pd.Series:
    """Text as the nearest float64; `pandas.to_numeric` alone is one unit in the last place off for some long ones."""
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    read = numbers.notna()
    try:
        return numbers.mask(read, text.where(read).astype("float64"))
    except ValueError:  # a text that pandas reads and Python does not, such as hexadecimal digits
        return numbers


def plain_number(text: pd.Series) -> pd.Series:
    """Numbers as text without units and thousands separators."""
    bare = text.str.replace(UNIT, r"\1", regex=True)
    return bare.where(~bare.str.fullmatch(THOUSANDS), bare.str.replace(GROUPERS, "", regex=True))


def to_truths(values: pd.Series, tokens: tuple[str, str] | None) -> pd.Series:
    """False and true as 0.0 and 1.0; besides the column's own texts every usual pair is understood."""
    truth = TRUTH | ({tokens[0].lower(): 0.0, tokens[1].lower(): 1.0} if tokens else {})
    if is_number(values):
        numbers = to_numbers(values)
        return numbers.where(numbers.isin([0.0, 1.0]))
    return as_text(values).str.lower().map(truth).astype("float64")


def to_times(values: pd.Series, form: str | None) -> pd.Series:
    """Times as naive UTC microseconds; a time without a zone is UTC."""
    if form in (UNIX, UNIX_MS) and not pd.api.types.is_datetime64_any_dtype(values):
        seconds = to_numbers(values) / (1000 if form == UNIX_MS else 1)
        micros = (seconds.where(seconds.abs() < 1e11) * 1e6).round()
        return pd.to_datetime(micros.astype("Int64"), unit="us", errors="coerce").astype("datetime64[us]")
    if not pd.api.types.is_datetime64_any_dtype(values):
        values = parse_times(as_text(values), form)
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values.astype("datetime64[us]")


def parse_times(text: pd.Series, form: str | None) -> pd.Series:
    """Text as naive UTC times by a `strptime` format, `mixed`, or ISO 8601; each different text is read once."""
    different = pd.Series(text.dropna().unique(), dtype="str")
    read = _read_times(different, form or "ISO8601")
    if form and form != MIXED:  # callers of the API, and later files, may write ISO 8601
        read = read.fillna(_read_times(different[read.isna()], "ISO8601"))
    return text.map(pd.Series(read.to_numpy(), index=different)).astype("datetime64[us]")


def _read_times(text: pd.Series, form: str) -> pd.Series:
    times = pd.to_datetime(text, format=form, errors="coerce", utc=True)
    dotted = text.str.match(r"\d{1,2}\.\d{1,2}\.")
    if form == MIXED and dotted.any():  # whoever writes dots writes the day first; pandas takes it for the month
        times = times.mask(
            dotted, pd.to_datetime(text.where(dotted), format=form, errors="coerce", utc=True, dayfirst=True)
        )
    return times.astype("datetime64[us, UTC]").dt.tz_localize(None)


def to_seconds(times: pd.Series) -> np.ndarray[Any, Any]:
    """Epoch seconds (n,) float64 of naive UTC times; NaN where missing."""
    micros = times.astype("datetime64[us]")
    seconds = micros.astype("int64").to_numpy() / 1e6
    return np.where(micros.isna().to_numpy(), np.nan, seconds)
