import numpy as np
import pandas as pd
import pytest

from treadle.learning.importance import permutation_importance
from treadle.learning.slices import slices
from treadle.problems import load_problem
from treadle.tables.schema import Column, Schema

REGRESSION, CLASSIFICATION = load_problem("tabular-regression"), load_problem("tabular-classification")


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    rows = 600
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(18, 90, rows)),
            "city": pd.Series(rng.choice(["Bonn", "Jena", "Ulm"], rows, p=[0.6, 0.37, 0.03]), dtype="str"),
            "member": rng.integers(0, 2, rows).astype(float),
            "when": pd.date_range("2024-01-01", periods=rows, freq="h").astype("datetime64[us]"),
            "free": pd.Series(["text"] * rows, dtype="str"),
            "y": rng.normal(size=rows),
        }
    )
    frame.loc[:39, "city"] = np.nan
    kinds = ("number", "category", "boolean", "datetime", "text", "number")
    columns = [Column(name=name, kind=kind) for name, kind in zip(frame.columns, kinds, strict=True)]
    columns[2] = Column(name="member", kind="boolean", tokens=("no", "yes"))
    return frame, Schema(columns=tuple(columns), target="y")


def test_every_kind_is_sliced_and_the_worst_comes_first(table):
    frame, schema = table
    y = np.zeros(len(frame))
    answer = np.where((frame["city"] == "Jena").to_numpy(), 5.0, 0.1)
    found = slices(frame, schema, y, answer, REGRESSION, "mae")
    assert found[0] == {"slice": "city = Jena", "column": "city", "rows": found[0]["rows"], "score": 5.0}
    assert [part["score"] for part in found] == sorted((part["score"] for part in found), reverse=True)
    names = [part["slice"] for part in found]
    assert {"city is missing", "member = no", "member = yes", "age is missing"} <= set(names)
    assert sum("age" in name for name in names) == 4
    assert "when ≤ 2024-01-09 07:00" in names
    assert {part["column"] for part in found} == {"age", "city", "member", "when"}


def test_slices_of_one_column_are_disjoint_and_cover_it(table):
    frame, schema = table
    found = slices(frame, schema, frame["y"].to_numpy(), np.zeros(len(frame)), REGRESSION, "rmse", min_rows=1)
    for column in schema.features:
        assert sum(part["rows"] for part in found if part["column"] == column.name) == len(frame)


def test_small_slices_are_left_out(table):
    frame, schema = table
    found = slices(frame, schema, frame["y"].to_numpy(), np.zeros(len(frame)), REGRESSION, "rmse", min_rows=30)
    assert not any(part["slice"] == "city = Ulm" for part in found)
    assert all(part["rows"] >= 30 for part in found)


def test_a_slice_of_one_class_has_no_auc_and_low_auc_is_worst(table):
    frame, schema = table
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, len(frame))
    y[(frame["city"] == "Bonn").to_numpy()] = 1
    p = np.where(frame["member"] == 1, y * 0.8 + 0.1, rng.random(len(frame)))
    found = slices(frame, schema, y, np.column_stack([1 - p, p]), CLASSIFICATION, "auc")
    assert not any(part["slice"] == "city = Bonn" for part in found)
    assert found[0]["score"] < found[-1]["score"] == 1.0


def test_a_column_of_equal_values_is_one_slice(table):
    frame, schema = table
    frame["age"] = 7.0
    found = slices(frame, schema, frame["y"].to_numpy(), np.zeros(len(frame)), REGRESSION, "rmse")
    assert [part["slice"] for part in found if part["column"] == "age"] == ["age ≤ 7"]


def test_importance_finds_the_column_that_matters(table):
    frame, _ = table
    before = frame.copy()
    y = frame["age"].fillna(0).to_numpy()
    found = permutation_importance(
        REGRESSION, "mae", lambda X: X["age"].fillna(0).to_numpy(), frame, y, 0, columns=["city", "age", "when"]
    )
    assert found[0]["column"] == "age"
    assert found[0]["importance"] > 5
    assert all(entry["importance"] == 0 for entry in found[1:])
    pd.testing.assert_frame_equal(frame, before)


def test_importance_is_a_loss_also_when_higher_is_better_and_the_same_for_the_same_seed(table):
    frame, _ = table
    frame["__row__"] = "t"
    y = (frame["member"] == 1).to_numpy().astype(int)

    def predict(X):
        return np.column_stack([1 - X["member"], X["member"]])

    one = permutation_importance(CLASSIFICATION, "accuracy", predict, frame, y, 3, max_rows=200)
    assert one[0]["column"] == "member"
    assert 0.3 < one[0]["importance"] < 0.7
    assert "__row__" not in [entry["column"] for entry in one]
    assert one == permutation_importance(CLASSIFICATION, "accuracy", predict, frame, y, 3, max_rows=200)
