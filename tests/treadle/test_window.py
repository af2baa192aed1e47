"""The ledger's rows as tables: aligned, typed where they fit, and left as they were sent where they do not."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from treadle.drift import Reference
from treadle.ledger import Row
from treadle.problems import load_problem
from treadle.project import Project, Promote
from treadle.tables.schema import Column, Schema
from treadle.window import as_sent, baseline_of, features_of, in_hindsight, window_of

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
    assert window.loss == "absolute error"
    assert window.covered == 0
    assert window_of([row(0, 12.0), row(1)], [], SCHEMA, PROJECT).covered == 1


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


def test_what_another_version_answered_is_answered_again_if_it_is_newer_than_what_was_learned():
    rows = [replace(row(i, 12.0), version=1 if i < 4 else 2) for i in range(6)]
    asked = []

    def answer(frame):
        asked.append(list(frame["size"]))
        return frame["size"].to_numpy() * 100

    judged = in_hindsight(rows, SCHEMA, 2, datetime(2024, 5, 2, tzinfo=UTC), answer)
    assert asked == [[2.0, 3.0]]
    assert [(r.id, r.version, r.answer["prediction"]) for r in judged] == [
        ("p2", 1, 200.0), ("p3", 1, 300.0), ("p4", 2, 10.0), ("p5", 2, 10.0),
    ]  # fmt: skip
    assert window_of([], judged, SCHEMA, PROJECT).losses.tolist() == [188, 288, 2, 2]
    assert [r.id for r in in_hindsight(rows, SCHEMA, 2, None, answer)] == ["p4", "p5"]


def test_the_rows_own_time_says_whether_it_may_have_been_learned_from():
    """A row of last week that was sent today has today's event time, and came with last week's table."""
    schema = SCHEMA.model_copy(
        update={"columns": (*SCHEMA.columns, Column(name="when", kind="datetime")), "time": "when"}
    )
    rows = [row(5, 1.0, when="2024-05-01T00:00:00"), row(6, 1.0, when="2024-05-07T00:00:00")]
    judged = in_hindsight(rows, schema, 2, datetime(2024, 5, 2, tzinfo=UTC), lambda frame: frame["size"].to_numpy())
    assert [r.id for r in judged] == ["p6"]


def test_classes_are_answered_again_with_their_probabilities():
    schema = Schema(columns=(SCHEMA.columns[0], Column(name="y", kind="category")), target="y", classes=("no", "yes"))
    project = PROJECT.model_copy(update={"problem": "tabular-classification", "promote": Promote(metric="accuracy")})
    rows = [
        replace(row(i, "yes"), answer={"prediction": "no", "probabilities": {"no": 1.0, "yes": 0.0}}) for i in (1, 2)
    ]
    said = in_hindsight(
        rows, schema, 2, datetime(2024, 5, 1, tzinfo=UTC), lambda frame: np.tile([0.25, 0.75], (len(frame), 1))
    )
    assert said[0].answer == {"prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    assert window_of([], said, schema, project).losses.tolist() == [0, 0]


def reference_with(targets, answers=None):
    return Reference(pd.DataFrame(), True, np.ones(len(targets)), np.arange(len(targets)), answers, np.array(targets))


def test_the_trivial_baseline_answers_the_median_of_training():
    reference = reference_with([1.0, 2.0, 9.0])
    window = window_of([], [row(0, 12.0), row(2, 3.0)], SCHEMA, PROJECT, reference)
    assert window.baseline.losses.tolist() == [10, 1]
    assert window.baseline.normal == pytest.approx(8 / 3)
    assert window_of([], [row(0, 12.0)], SCHEMA, PROJECT).baseline is None


def test_the_trivial_baseline_answers_the_class_shares_of_training():
    problem, shares = load_problem("tabular-classification"), np.full((4, 2), 0.5)
    found = baseline_of(reference_with([0, 0, 0, 1], shares), np.array([1, 0]), problem, "log_loss")
    assert found.losses == pytest.approx(-np.log([0.25, 0.75]))
    assert found.normal == pytest.approx(np.mean(-np.log([0.75, 0.75, 0.75, 0.25])))
    assert baseline_of(reference_with([0, 0], shares[:2]), np.array([1]), problem, "log_loss") is None
    assert baseline_of(replace(reference_with([0]), targets=None), np.array([1]), problem, "log_loss") is None
