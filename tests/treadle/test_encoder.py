"""The encoder: its calendar is the calendar, and what it never saw does it no harm."""

import numpy as np
import pandas as pd
import pytest

from treadle.algebra import NumpyAlgebra
from treadle.encoder import TableEncoder, _calendar
from treadle.errors import BadData

COLUMNS = [{"name": "x", "kind": "number"}, {"name": "c", "kind": "category"}, {"name": "t", "kind": "datetime"}]


@pytest.fixture
def rows():
    return pd.DataFrame(
        {
            "x": [1.0, 2.0, np.nan, 4.0],
            "c": ["a", "b", "a", None],
            "t": pd.date_range("2024-02-28 22:00", periods=4, freq="13h"),
        }
    )


def test_calendar_is_the_calendar():
    times = pd.Series(pd.date_range("1969-12-30", "2101-03-05", freq="7h13min"))
    seconds = times.astype("datetime64[us]").astype("int64").to_numpy() / 1e6
    algebra = NumpyAlgebra({"t": seconds})
    parts = _calendar(algebra, algebra.numbers(["t"]))
    assert np.array_equal(parts[:, 0], times.dt.hour)
    assert np.array_equal(parts[:, 1], times.dt.dayofweek)
    assert np.array_equal(parts[:, 2], times.dt.dayofweek * 24 + times.dt.hour)
    assert np.array_equal(parts[:, 3], times.dt.day)
    assert np.array_equal(parts[:, 4], times.dt.month)


@pytest.mark.parametrize(("categories", "smooth"), [("onehot", True), ("ordinal", False)])
def test_shape_names_and_dtype(rows, categories, smooth):
    encoder = TableEncoder(COLUMNS, categories, smooth).fit(rows, np.arange(4))
    matrix = encoder.transform(rows)
    assert matrix.dtype == np.float32
    assert matrix.shape == (4, len(encoder.get_feature_names_out()))


def test_unseen_and_missing_categories_have_columns_of_their_own(rows):
    encoder = TableEncoder(COLUMNS[1:2], "onehot").fit(pd.DataFrame({"c": ["a", "a", "b", "b"]}))
    matrix = encoder.transform(pd.DataFrame({"c": ["a", "z", None]}))
    names = list(encoder.get_feature_names_out())
    assert matrix[1, names.index("c=(other)")] == 1
    assert matrix[2, names.index("c=(missing)")] == 1
    assert (matrix.sum(axis=1) == 1).all()


def test_large_numbers_keep_their_differences():
    raw = pd.DataFrame({"x": 1e12 + np.arange(10.0)})
    matrix = TableEncoder(COLUMNS[:1], smooth=False).fit(raw).transform(raw)
    assert len(np.unique(matrix)) == 10


def test_trees_see_no_unbounded_trend(rows):
    names = TableEncoder(COLUMNS, "ordinal", smooth=False).fit(rows).get_feature_names_out()
    assert not any("years" in name for name in names)


def test_missing_column_and_no_rows_are_named(rows):
    with pytest.raises(BadData, match="'c'"):
        TableEncoder(COLUMNS).fit(rows.drop(columns="c"))
    with pytest.raises(BadData, match="no rows"):
        TableEncoder(COLUMNS).fit(rows[:0])
