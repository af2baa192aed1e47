"""Tables as people have them: every odd one is either understood or refused in one line."""

import gzip
import sqlite3
import subprocess

import numpy as np
import pandas as pd
import pytest

from treadle.errors import BadData, BrokenTable, NotFound, TreadleError
from treadle.project import Data, load_project
from treadle.tables.data import (
    AT,
    BAD,
    ROW,
    SOURCE,
    conform,
    conform_features,
    digest,
    infer_column,
    infer_schema,
    load_schema,
    load_snapshot,
    read_source,
    read_table,
    row_ids,
    snapshot,
)
from treadle.tables.values import convert

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01"


def series(values, name="x", rows=60):
    """Text as a CSV gives it, repeated to `rows` rows."""
    return pd.Series((list(values) * rows)[:rows], name=name, dtype="str")


# -- reading ----------------------------------------------------------------------------------------------------------


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


# -- inference --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "name", "kind", "traits"),
    [
        (["1", "2", "5", ""], "n", "integer", {"nullable": True, "low": 1.0, "high": 5.0}),
        (["1.5", "2", "?"], "n", "number", {"nullable": True}),
        (["1,234", "12", "5,678,901"], "n", "integer", {"high": 5678901.0}),
        (["$1,234.50", "$12.00"], "price", "number", {"high": 1234.5}),
        (["yes", "no"], "b", "boolean", {"tokens": ("no", "yes")}),
        (["TRUE", "FALSE", "NA"], "b", "boolean", {"tokens": ("FALSE", "TRUE"), "nullable": True}),
        (["t", "f"], "b", "boolean", {"tokens": ("f", "t")}),
        (["2024-01-31", "2024-02-29"], "d", "datetime", {"format": None}),
        (["2024-01-31T10:00:00Z", "2024-02-29T11:30:00+02:00"], "d", "datetime", {"format": None}),
        (["31.01.2024", "29.02.2024"], "d", "datetime", {"format": "%d.%m.%Y"}),
        (["31.01.2024, 10:15", "29.02.2024, 00:00"], "d", "datetime", {"format": "%d.%m.%Y, %H:%M"}),
        (["1/31/2024", "2/29/2024"], "d", "datetime", {"format": "%m/%d/%Y"}),
        (["31/01/2024 10:15", "29/02/2024 00:00"], "d", "datetime", {"format": "%d/%m/%Y %H:%M"}),
        (["Jan 31, 2024", "Feb 29, 2024"], "d", "datetime", {"format": "%b %d, %Y"}),
        (["1704067200", "1704070800", "1704074400"], "created_at", "datetime", {"format": "unix"}),
        (["red", "green", "red", ""], "c", "category", {"categories": ("red", "green"), "nullable": True}),
        (["00123", "00456"], "zip", "category", {}),
        (["1.2.3", "1.10.2"], "version", "category", {}),
        (["$1,234", "$12"], "cost", "integer", {"high": 1234.0}),
        (["same"], "k", "constant", {}),
        ([""], "k", "constant", {"nullable": True}),
        (["0", "1"], "n", "integer", {}),
    ],
)
def test_columns_are_understood(values, name, kind, traits):
    column = infer_column(series(values, name))
    assert column.kind == kind
    assert {key: getattr(column, key) for key in traits} == traits


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        ([f"u-{i * 7919 % 1000:04d}" for i in range(60)], "user", "identifier"),
        ([str(i * 7919 % 1000) for i in range(60)], "customer_id", "identifier"),
        ([str(i) for i in range(1, 61)], "n", "identifier"),
        ([f"the parcel {i} came late and it was not what I ordered" for i in range(60)], "note", "text"),
        ([str(i * 1.37) for i in range(60)], "size", "number"),
    ],
)
def test_identifiers_and_free_text_are_not_learned_from(values, name, kind):
    assert infer_column(pd.Series(values, name=name, dtype="str")).kind == kind


def test_a_text_again_and_again_among_numbers_means_missing_and_once_is_a_slip():
    numbers = [str(i * 1.37) for i in range(200)]
    often = infer_column(pd.Series([*numbers, "Unknown", "unknown"], name="size", dtype="str"))
    once = infer_column(pd.Series([*numbers, "unknown"], name="size", dtype="str"))
    assert (often.kind, often.missing, often.nullable) == ("number", ("unknown",), True)
    assert (once.kind, once.missing, once.nullable) == ("number", (), False)


def test_dates_with_dots_have_the_day_first_however_they_are_written():
    written = ["05.01.2024", "6.1.2024 08:00", "07.01.24, 8:00", "2024-01-08"]
    column = infer_column(series(written, "d"))
    assert column.format == "mixed"
    assert [time.day for time in convert(series(written, "d", 4), column)] == [5, 6, 7, 8]


def test_people_have_the_last_word():
    raw = pd.DataFrame({"code": series(["1", "2", "3"]), "y": series(["1.5", "2.5"])})
    schema = infer_schema(raw, Data(source="a.csv", target="y", types={"code": "category"}), "tabular-regression")
    assert schema.column("code").kind == "category"
    assert schema.column("code").categories == ("1", "2", "3")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"target": "churn"}, "Did you mean 'churned'"),
        ({"target": "churned", "time": "whn"}, "Did you mean 'when'"),
        ({"target": "churned", "group": "pln"}, "Did you mean 'plan'"),
        ({"target": "churned", "types": {"siz": "number"}}, "Did you mean 'size'"),
    ],
)
def test_columns_that_are_not_there_suggest_the_nearest(toy_table, data, says):
    with pytest.raises(BadData, match=says):
        infer_schema(toy_table, Data(source="a.csv", **data), "tabular-classification")


def test_a_target_of_words_is_no_regression(toy_table):
    with pytest.raises(BadData, match="churned"):
        infer_schema(toy_table, Data(source="a.csv", target="churned"), "tabular-regression")


# -- conforming -------------------------------------------------------------------------------------------------------


def test_frames_have_the_dtypes_of_their_kinds(toy):
    schema, frame = toy("tabular-classification")
    assert frame["size"].dtype == np.float64
    assert set(frame["member"].unique()) == {0.0, 1.0}
    assert frame["when"].dtype == "datetime64[us]"
    assert frame["plan"].dtype == "str"
    assert frame["plan"].isna().any()
    assert frame["churned"].dtype == "str"
    assert schema.classes == ("no", "yes")
    assert frame[AT].equals(frame["when"].rename(AT))
    assert set(frame[SOURCE]) == {"table"}
    assert BAD not in frame


def test_a_table_as_text_is_the_same_table(toy_table, toy, tmp_path):
    schema, _ = toy("tabular-classification")
    raw = toy_table.drop(columns="amount").round({"size": 6})
    frame = conform(raw, schema)
    raw.to_csv(tmp_path / "toy.csv", index=False)
    again = conform(read_table(str(tmp_path / "toy.csv")), schema)
    pd.testing.assert_frame_equal(again, frame)


def test_a_later_table_may_write_thousands_otherwise(toy_table, toy):
    schema, _ = toy("tabular-classification")
    plain = toy_table.drop(columns="amount").assign(serial=range(1000, 1600))
    written = plain.assign(serial=[f"{number:,}" for number in plain["serial"]])
    pd.testing.assert_frame_equal(conform(written, schema), conform(plain, schema))


def test_single_cells_that_cannot_be_read_are_named(toy_table, toy):
    schema, _ = toy("tabular-classification")
    raw = toy_table.astype({"size": object, "when": object})
    raw.loc[3, "size"] = "heavy"
    raw.loc[3, "when"] = "yesterday"
    frame = conform(raw, schema)
    assert "size: 'heavy' is no number" in frame.loc[3, BAD]
    assert "when: 'yesterday' is no datetime" in frame.loc[3, BAD]
    assert frame[BAD].notna().sum() == 1
    assert np.isnan(frame.loc[3, "size"])


def test_another_column_under_the_name_is_a_broken_table(toy_table, toy):
    schema, _ = toy("tabular-classification")
    with pytest.raises(BrokenTable, match="'size' should be number") as caught:
        conform(toy_table.assign(size="heavy"), schema)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_a_broken_table(toy_table, toy):
    schema, _ = toy("tabular-classification")
    with pytest.raises(BrokenTable, match="lacks the column 'plan'.* Did you mean 'plans'"):
        conform(toy_table.rename(columns={"plan": "plans"}), schema)
    with pytest.raises(BrokenTable, match="lacks the column 'churned'"):
        conform(toy_table.drop(columns="churned"), schema)


def test_columns_nobody_learns_from_may_go_and_others_may_come(toy_table):
    raw = toy_table.assign(note=[f"this is the long note number {i} of many" for i in range(len(toy_table))])
    schema = infer_schema(raw, Data(source="a.csv", target="amount"), "tabular-regression")
    frame = conform(raw.drop(columns="note").assign(new=1), schema)
    assert frame["note"].isna().all()
    assert "new" not in frame


def test_features_conform_without_a_target(toy_table, toy):
    schema, frame = toy("tabular-regression")
    raw = toy_table.drop(columns=["amount", "churned"])
    features, unread = conform_features(raw, schema)
    pd.testing.assert_frame_equal(features, frame[[c.name for c in schema.features]])
    assert unread == {}
    raw = raw.astype({"size": object})
    raw.loc[[3, 5], "size"] = "heavy"
    features, unread = conform_features(raw, schema)
    assert unread == {"size": 2}
    assert features.loc[[3, 5], "size"].isna().all()


def test_row_ids_follow_values_and_number_repeats():
    frame = pd.DataFrame({"a": [1.0, 2.0, 1.0, 1.0], "b": ["x", None, "x", "x"]})
    ids = row_ids(frame)
    assert ids.is_unique
    assert list(ids[[2, 3]]) == [f"{ids[0]}#2", f"{ids[0]}#3"]
    assert list(row_ids(frame.iloc[[1]])) == [ids[1]]
    assert len(row_ids(frame.iloc[:0])) == 0


# -- snapshots and the fixed schema -----------------------------------------------------------------------------------


def test_a_snapshot_is_named_by_its_content_and_kept_once(toy, settings):
    _, frame = toy("tabular-regression")
    path = snapshot(frame, settings, "toy")
    assert path == snapshot(frame.copy(), settings, "toy")
    back = load_snapshot(path)
    pd.testing.assert_frame_equal(back, frame)
    assert digest(back) == digest(frame)
    frame.loc[1, "size"] += 1
    assert snapshot(frame, settings, "toy") != path
    assert not list((settings.state_dir / "snapshots").rglob("*.part"))


@pytest.fixture
def shop(settings, toy_table):
    """Writes projects/shop around the toy table; more keys of `data` may be given."""

    def make(more=""):
        folder = settings.projects_dir / "shop"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        toy_table.to_csv(folder / "data/shop.csv", index=False)
        body = f"name: shop\nproblem: tabular-regression\ndata: {{source: data/shop.csv, target: amount{more}}}\n"
        (folder / "project.yaml").write_text(body)
        return load_project("shop", settings)

    return make


def test_types_are_inferred_once_and_then_fixed(shop, toy_table):
    project = shop()
    first = load_schema(project)
    toy_table["size"] = "heavy"
    shop()
    assert load_schema(project) == first


def test_what_people_change_in_the_project_later_holds(shop):
    load_schema(shop())
    schema = load_schema(shop(", time: when, ignore: [churned], types: {serial: category}"))
    assert schema.time == "when"
    assert schema.column("serial").kind == "category"
    assert "churned" not in [c.name for c in schema.features]


def test_a_source_that_has_moved_is_named_with_the_line_that_names_it(shop):
    project = shop()
    assert len(read_source(project)) == 600
    (project.folder / "data/shop.csv").rename(project.folder / "data/shops.csv")
    with pytest.raises(NotFound) as caught:
        load_schema(project)
    said = str(caught.value)
    assert said.startswith(f"No file {project.folder}/data/shop.csv. Did you mean 'shops.csv'?")
    assert f"{project.folder}/project.yaml names it as data.source; put it back, or write there where it is now." in said


@pytest.mark.parametrize("seed", range(25))
def test_no_table_of_odd_cells_ends_in_anything_but_a_table_or_one_line(tmp_path, seed):
    rng = np.random.default_rng(seed)
    cells = ["", "1", "1,234", "-", "NaN", "inf", "1e999", "é", "日本", "yes", "no", "2024-02-30", "31.12.1999", "?", "0",
             "9" * 40, " ", "'", "=1+1", "\u200b", "null", "1.2.3", "00:00", "99999-01-01", "🎉", "#2", "%"]  # fmt: skip
    table = pd.DataFrame({f"c{i}": rng.choice(rng.choice(cells, 4), 70) for i in range(6)})
    path = tmp_path / "odd.csv"
    table.to_csv(path, index=False)
    raw = read_table(str(path))
    for problem in ("tabular-classification", "tabular-regression"):
        try:
            schema = infer_schema(raw, Data(source="odd.csv", target="c0"), problem)
            frame = conform(raw, schema)
        except TreadleError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        assert len(frame) == 70
        assert frame[ROW].is_unique
        numbers = frame.select_dtypes("number").to_numpy()
        assert not np.isinf(numbers).any()
