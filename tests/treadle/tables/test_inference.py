"""What each column is understood to be, and who has the last word."""

import pandas as pd
import pytest

from treadle.errors import BadData
from treadle.project import Data
from treadle.tables.inference import infer_column, infer_schema
from treadle.tables.values import convert


def series(values, name="x", rows=60):
    """Text as a CSV gives it, repeated to `rows` rows."""
    return pd.Series((list(values) * rows)[:rows], name=name, dtype="str")


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
