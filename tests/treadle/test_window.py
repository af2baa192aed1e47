"""The ledger's rows as tables: aligned, typed where they fit, and left as they were sent where they do not."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from treadle.ledger import Row
from treadle.project import Project
from treadle.schema import Column, Schema
from treadle.window import as_sent, features_of, window_of

SCHEMA = Schema(
    columns=(Column(name="size", kind="number"), Column(name="plan", kind="category"), Column(name="y", kind="number")),
    target="y",
)
PROJECT = Project.model_validate(
    {
        "name": "toy",
        "problem": "tabular-regression",
        "data": {"source": "d.csv", "target": "y"},
        "promote": {"metric": "mae"},
    }
)


def row(number, label=None, **features):
    at = datetime(2024, 5, 1 + number, tzinfo=UTC)
    return Row(f"p{number}", 1, at, {"size": 1.0 * number, "plan": "a"} | features, {"prediction": 10.0}, label)


def test_everything_of_a_window_is_aligned():
    rows = [row(i) for i in range(3)]
    window = window_of(rows, [row(0, 12.0), row(2, 9.0)], SCHEMA, PROJECT)
    assert list(window.rows["size"]) == [0, 1, 2]
    assert np.array_equal(window.answers, [10, 10, 10])
    assert np.array_equal(window.losses, [2, 1])
    assert np.array_equal(window.targets, [12, 9])
    assert list(window.labelled["size"]) == [0, 2]
    assert np.diff(window.loss_days).tolist() == [2]


def test_no_rows_are_an_empty_window():
    window = window_of([], [], SCHEMA, PROJECT)
    assert (len(window.rows), len(window.losses), len(window.answers), len(window.labelled)) == (0, 0, 0, 0)
    assert list(window.rows.columns) == ["size", "plan"]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_mostly_unreadable_values_stay_as_they_were_sent(share):
    rows = [row(i % 20, size="tall" if i < 10 * share else 1.0) for i in range(10)]
    sent = as_sent(rows, features_of(rows, SCHEMA), SCHEMA)
    assert pd.api.types.is_numeric_dtype(sent["size"]) == (share < 0.5)


def test_columns_that_nobody_sent_are_gone_and_unknown_ones_are_there():
    rows = [Row("p", 1, datetime(2024, 5, 1, tzinfo=UTC), {"plan": "a", "color": "red"}, {"prediction": 1.0}, None)]
    assert list(as_sent(rows, features_of(rows, SCHEMA), SCHEMA)) == ["plan", "color"]
    assert list(as_sent(rows, features_of(rows, SCHEMA), SCHEMA, ["size"])) == ["size", "plan", "color"]
