"""Files as people have them: every odd one is either read or refused in one line."""

import gzip
import sqlite3
import subprocess

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData, NotFound
from treadle.tables.inference import infer_column
from treadle.tables.reading import read_table
from treadle.tables.values import convert

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("a.csv", b"", BadData, "is empty"),
        ("a.csv", b" \n\n", BadData, "is empty"),
        ("a.csv", b"a,b\n", BadData, "header but no rows"),
        ("a.csv", PNG, BadData, "not a text file"),
        ("a.csv", b"name,b\ncaf\xe9,1\n", BadData, "line 2 has the byte 0xe9"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), BadData, "UTF-16"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n", BadData, "line 3 has 3 fields, its header 2"),
        ("a.csv", b"a,b\n1,2\n3\n", BadData, "line 3 has 1 fields, its header 2"),
        ("a.csv", b"a,b,a\n1,2,3\n", BadData, "column 'a' twice"),
        ("a.csv", b"__row__,b\n1,2\n", BadData, "'__row__'"),
        ("a.csv.gz", b"a,b\n1,2\n", BadData, "not a whole gzip"),
        ("a.parquet", b"PAR1 but not really", BadData, "not a Parquet file"),
        ("a.jsonl", b'{"a": 1}\n[2]\n', BadData, "line 2 is not an object"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', BadData, "line 2"),
        ("a.jsonl", b"[" * 20000, BadData, "line 1"),
        ("a.xlsx", b"PK\x03\x04", BadData, "save its sheet as CSV (UTF-8)"),
        ("a", b"a,b\n1,2\n", BadData, "Cannot tell what"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(tmp_path, name, content, error, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        read_table(str(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_suggests_the_nearest(tmp_path):
    (tmp_path / "orders.csv").write_text("a\n1\n")
    with pytest.raises(NotFound, match=r"Did you mean 'orders.csv'"):
        read_table(str(tmp_path / "order.csv"))
    with pytest.raises(BadData, match="is a folder"):
        read_table(str(tmp_path))


def test_one_table_in_every_format_is_one_table(tmp_path):
    frame = pd.DataFrame({"größe": [1.5, 2.5, np.nan], "名前": ["a", "b, c", "ü"], "when": ["2024-01-01"] * 3})
    text = frame.to_csv(index=False)
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "semicolon.csv").write_text(frame.to_csv(index=False, sep=";"), encoding="utf-8")
    (tmp_path / "excel.csv").write_bytes(b"sep=;\r\n" + frame.to_csv(index=False, sep=";").encode())
    (tmp_path / "a.tsv").write_text(frame.to_csv(index=False, sep="\t"), encoding="utf-8")
    (tmp_path / "crlf.csv").write_bytes(text.replace("\n", "\r\n").encode())
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        frame.to_sql("t", connection, index=False)
    tables = [read_table(str(path)) for path in sorted(tmp_path.iterdir()) if path.suffix != ".db"]
    tables += [read_table(f"sqlite:///{tmp_path}/a.db", "select * from t"), read_table(f"file://{tmp_path}/a.csv")]
    for table in tables:
        assert list(table.columns) == ["größe", "名前", "when"]
        sizes = pd.to_numeric(table["größe"].replace("", None)).astype(float)
        np.testing.assert_array_equal(sizes, [1.5, 2.5, np.nan])
        assert list(table["名前"]) == ["a", "b, c", "ü"]


def test_sql_needs_a_query_a_database_and_rows(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a int)")
    url = f"sqlite:///{path}"
    with pytest.raises(BadData, match="needs a query"):
        read_table(url)
    with pytest.raises(BadData, match="no rows"):
        read_table(url, "select * from t")
    with pytest.raises(NotFound, match=r"nowhere.db"):
        read_table(f"sqlite:///{tmp_path}/nowhere.db", "select 1")
    assert not (tmp_path / "nowhere.db").exists()


def test_a_query_that_fails_is_one_line(tmp_path):
    path = tmp_path / "a.db"
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(BadData, match="no such table: orders") as caught:
        read_table(f"sqlite:///{path}", "select * from orders")
    assert "\n" not in str(caught.value)


def test_numbers_of_full_precision_are_read_exactly():
    numbers = np.random.default_rng(0).normal(50, 10, 1000)
    column = infer_column(pd.Series(numbers, name="x"))
    text = pd.Series([repr(float(number)) for number in numbers], name="x", dtype="str")
    np.testing.assert_array_equal(convert(text, column), numbers)


def prices(tmp_path, written, separator=";"):
    """The column `x` of a file that has it beside another, read and understood."""
    path = tmp_path / "prices.csv"
    pd.DataFrame({"x": (list(written) * 60)[:60], "y": "a"}).to_csv(path, sep=separator, index=False)
    return infer_column(read_table(str(path))["x"])


@pytest.mark.parametrize(
    ("separator", "written", "kind", "low", "high"),
    [
        (";", ["1.234,5", "12"], "number", 12.0, 1234.5),
        (";", ["1,234", "2,5"], "number", 1.234, 2.5),
        (";", [*(f"{n},25" for n in range(1, 14)), "k.A."], "number", 1.25, 13.25),
        (";", ["1.299,00 €", "12,50 €"], "number", 12.5, 1299.0),
        (";", ["12,5 %", "3,25 %"], "number", 3.25, 12.5),
        (",", ["102,60", "4.009,20", ""], "number", 102.6, 4009.2),
        ("\t", ["102,60", "-3,5"], "number", -3.5, 102.6),
        (",", ["1,234", "12"], "integer", 12.0, 1234.0),  # thousands
        (",", ["1,234.50", "12.25"], "number", 12.25, 1234.5),
        (";", ["12,5 kg", "3,5 kg"], "category", None, None),
        (";", ["3,5", "no", "yes", "perhaps"], "category", None, None),
        (";", ["1,2", "1,2,3"], "category", None, None),
    ],
)
def test_commas_in_numbers_are_read_as_they_are_meant(tmp_path, separator, written, kind, low, high):
    column = prices(tmp_path, written, separator)
    assert (column.kind, column.low, column.high) == (kind, low, high)


def test_a_file_of_windows_is_written_anew_by_the_command_that_the_error_names(tmp_path):
    (tmp_path / "my prices.csv").write_bytes("Preis (€);y\n1;2\n".encode("cp1252"))
    with pytest.raises(BadData, match="is not UTF-8") as caught:
        read_table(str(tmp_path / "my prices.csv"))
    subprocess.run(str(caught.value).partition("for example: ")[2], shell=True, check=True)
    assert list(read_table(str(tmp_path / "my prices-utf8.csv"))) == ["Preis (€)", "y"]
