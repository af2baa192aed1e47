"""Tables as they are written: CSV and TSV as text, Parquet, JSON Lines and SQL with their own types.

Every way in which a file can fail to be a table is one clear line. Knows nothing of kinds or schemas.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from treadle.errors import BadData, NotFound, nearest

RESERVED = re.compile(r"^__\w+__$")
"""Names such as `__row__`: Treadle's own columns."""
SQL_SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql", "duckdb", "snowflake")
DECIMAL_COMMA = re.compile(r"[+-]?([$€£¥]\s?)?[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?(\s?[%$€£¥])?")
SURELY_DECIMAL = r",(?:\d{1,2}|\d{4,})\D*$"  # 12,5 and 12,50; 12,500 may be thousands
MOST_WORDS = 0.5
MAX_FIELD = 1 << 30


def read_table(source: str, query: str | None = None) -> pd.DataFrame:
    """Read a table as it is written.

    Args:
        source: A path, a SQLAlchemy URL (with `query`), or an fsspec URL. The ending says what it is: `.csv`, `.tsv`,
            `.parquet`, `.jsonl`, `.ndjson`, each but Parquet also with `.gz`.
        query: The SQL to run.

    Returns:
        The rows (n, columns); the columns of a CSV are text.

    Raises:
        NotFound: There is no such file.
        BadData: It is empty, is not a table, or is not UTF-8; the message says what to do.
    """
    if query is not None:
        return _named(_read_sql(source, query), "The query's answer")
    reader, packed = _reader_of(source)
    content = _read_bytes(source)
    if packed:
        content = _unpack(source, content)
    if not content.strip():
        raise BadData(f"{source} is empty.")
    frame = reader(source, content)
    if frame.empty:
        raise BadData(f"{source} has a header but no rows.")
    return _named(frame, source)


def _reader_of(source: str) -> tuple[Callable[[str, bytes], pd.DataFrame], bool]:
    """What reads this file, and whether it is packed."""
    scheme = source.split("://", 1)[0].split("+", 1)[0] if "://" in source else ""
    if scheme in SQL_SCHEMES:
        raise BadData(f"A {scheme} URL needs a query; write one under data.query.")
    name = source.lower().split("?", 1)[0] if scheme else source.lower()
    packed = name.endswith(".gz")
    ending = Path(name.removesuffix(".gz")).suffix
    if ending not in READERS:
        if not scheme and Path(source).is_dir():
            raise BadData(f"{source} is a folder; name the file in it.")
        if not scheme and not Path(source).exists():
            raise _no_file(source)
        if ending in (".xlsx", ".xls", ".ods"):
            raise BadData(f"{source} is a workbook; save its sheet as CSV (UTF-8) and name that file.")
        raise BadData(f"Cannot tell what {source} is; name a .csv, .tsv, .parquet or .jsonl file, or a SQL URL.")
    return READERS[ending], packed


def _read_bytes(source: str) -> bytes:
    """All bytes of a local file or an fsspec URL."""
    if "://" in source:
        return _fetch(source)
    path = Path(source)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _no_file(source) from None
    except IsADirectoryError:
        raise BadData(f"{source} is a folder; name the file in it.") from None
    except PermissionError:
        raise BadData(f"{source} may not be read by this user; change its permissions.") from None
    except OSError as error:
        raise BadData(f"{source[:200]} cannot be read: {_line(error)}") from error


def _no_file(source: str) -> NotFound:
    path = Path(source)
    try:
        beside = sorted(p.name for p in path.parent.iterdir())[:1000]
    except OSError:
        beside = []
    return NotFound(f"No file {source}.{nearest(path.name, beside)}")


def _fetch(url: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise NotFound(f"No file {url}.") from None
    except ImportError as error:
        raise BadData(f"Cannot read {url}: {_line(error)}") from error
    except Exception as error:  # each store raises its own kind; the caller needs one line either way
        raise BadData(f"Cannot read {url}: {type(error).__name__}: {_line(error)}") from error


def _unpack(source: str, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{source} is not a whole gzip file: {_line(error)}") from error


def _read_csv(source: str, content: bytes) -> pd.DataFrame:
    text = re.sub(r"\Asep=.\r?\n", "", _decode(source, content))  # a line of Excel's; the header says it as well
    separator = "\t" if Path(source.lower().removesuffix(".gz")).suffix == ".tsv" else _separator(text)
    header = _check_lines(source, text, separator)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise BadData(f"{source} is not a table: {_line(error)}") from error
    if len(header) == frame.shape[1]:  # pandas renames what is there twice; the file's own names decide
        frame = frame.set_axis(header, axis=1)
    return _with_points(frame, separator)


def _decode(source: str, content: bytes) -> str:
    """The file as text.

    Raises:
        BadData: It is binary or not UTF-8; the message names the byte, its line, and the command that mends it.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadData(f"{source} is UTF-16. Save it as UTF-8, for example: {_recoded(source, 'utf-16')}")
    if b"\x00" in content:
        raise BadData(f"{source} is not a text file: it holds a zero byte.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadData(
            f"{source} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}. "
            f"Save it as UTF-8, for example: {_recoded(source, 'cp1252')}"
        ) from error


def _recoded(source: str, encoding: str) -> str:
    """The command that writes the file as UTF-8. What is not UTF-8 comes from Windows nearly always, where 0x80 is €."""
    path = Path(Path(source).name if "://" in source else source)
    copy = path.with_stem(f"{path.stem}-utf8")
    return f"iconv -f {encoding} -t utf-8 {shlex.quote(str(path))} > {shlex.quote(str(copy))}"


def _separator(text: str) -> str:
    """The most frequent of the usual separators in the header line, outside of quotes."""
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0])
    return max(",;\t|", key=header.count)


def _check_lines(source: str, text: str, separator: str) -> list[str]:
    """The header's names, when every line has as many fields as it.

    Raises:
        BadData: A line has more or fewer; pandas would fill or cut it.
    """
    csv.field_size_limit(MAX_FIELD)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    try:
        for fields in lines:
            if not fields:
                continue
            if not header:
                header = fields
            elif len(fields) != len(header):
                raise BadData(
                    f"{source} is not a table: line {lines.line_num} has {len(fields)} fields, its header {len(header)}."
                )
    except csv.Error as error:
        raise BadData(f"{source} is not a table: line {lines.line_num}: {_line(error)}") from error
    return header


def _with_points(frame: pd.DataFrame, separator: str) -> pd.DataFrame:
    """Rewrite 1.234,5 as 1234.5 in the columns that write numbers so; words such as `k.A.` between them stay.

    Where `;` separates, every comma in a number is a decimal one. Elsewhere some number must have other than three digits
    behind it, since 1,234 may be thousands.
    """
    changed = {}
    for position, name in enumerate(frame.columns):
        values = frame.iloc[:, position].str.strip()
        commas = values.str.contains(",", regex=False)
        if not commas.any():
            continue
        numbers = values.str.fullmatch(DECIMAL_COMMA)
        words = ~numbers & (values != "")
        if (
            (numbers & commas).any()
            and not values[words].str.contains(r"\d").any()
            and words.sum() <= MOST_WORDS * (words | numbers).sum()
            and (separator == ";" or values[numbers].str.contains(SURELY_DECIMAL).any())
        ):
            points = values.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            changed[name] = values.mask(numbers, points)
    return frame.assign(**changed)


def _read_parquet(source: str, content: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError, KeyError, NotImplementedError) as error:
        raise BadData(f"{source} is not a Parquet file: {_line(error)}") from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _read_json_lines(source: str, content: bytes) -> pd.DataFrame:
    """One object a line; what is nested stays as JSON text."""
    records = []
    for number, line in enumerate(_decode(source, content).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadData(f"{source} is not JSON Lines: line {number}: {_line(error)}") from error
        if not isinstance(record, dict):
            raise BadData(f"{source} is not JSON Lines: line {number} is not an object such as {{'age': 3}}.")
        records.append({name: _flat(value) for name, value in record.items()})
    frame = pd.DataFrame.from_records(records)
    if any("\ud800" <= sign <= "\udfff" for sign in "".join(map(str, frame.columns))) or _has_half(content, records):
        raise BadData(f"{source} holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no character.")
    return frame


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _has_half(content: bytes, records: list[dict[str, Any]]) -> bool:
    """Whether a text cannot be written as UTF-8; looked for only where the file escapes such signs."""
    if not re.search(rb"\\u[dD][89a-fA-F]", content):
        return False
    try:
        for record in records:
            for value in record.values():
                if isinstance(value, str):
                    value.encode()
    except UnicodeEncodeError:
        return True
    return False


READERS: dict[str, Callable[[str, bytes], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}


def _read_sql(url: str, query: str) -> pd.DataFrame:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = make_url(url)
        database = address.database
        if address.get_backend_name() == "sqlite" and database and not Path(database).is_file():
            raise NotFound(f"No file {database}.")  # SQLite would make an empty one
        engine = create_engine(address)
        try:
            with engine.connect() as connection:
                frame = pd.read_sql(text(query), connection)
        finally:
            engine.dispose()
    except (SQLAlchemyError, pd.errors.DatabaseError, ImportError) as error:
        said = re.split(r"\s*\[SQL:|\s*\(Background", _line(error))[0]
        raise BadData(f"The query failed: {said} (data.source, data.query)") from error
    if frame.empty:
        raise BadData("The query gave no rows (data.query).")
    return frame


def _named(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Column names as text on one line, each once, none of ours; a column without a name gets its number."""
    names = [" ".join(str(name).split()) for name in frame.columns]
    names = [name or f"column {position}" for position, name in enumerate(names, start=1)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadData(f"{source} has the column '{twice[0]}' twice; rename one.")
    if ours := [name for name in names if RESERVED.match(name)]:
        raise BadData(f"{source} has a column '{ours[0]}'; Treadle keeps such names for itself, rename it.")
    return frame.set_axis(names, axis=1)


def _line(error: BaseException) -> str:
    """An error's text on one line, cut to what a person reads."""
    return " ".join(str(error).split())[:200] or type(error).__name__
