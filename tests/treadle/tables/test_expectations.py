"""Validation: what the data wrote itself passes, what breaks it is set aside or stops, and a mistake is not bad rows."""

import json

import numpy as np
import pytest

from treadle.errors import BadProject
from treadle.pages.validation_page import render_page
from treadle.project import Project
from treadle.tables.data import BAD, conform, infer_schema
from treadle.tables.expectations import ExpectationError, check, quarantine, write_suite
from treadle.tables.leaks import find_leaks


@pytest.fixture
def toy_project():
    def make(**rules):
        data = {"source": "toy.csv", "target": "amount", "time": "when"}
        return Project.model_validate({"name": "toy", "problem": "tabular-regression", "data": data, "validate": rules})

    return make


@pytest.fixture
def suite(toy, tmp_path):
    schema, frame = toy("tabular-regression")
    path = tmp_path / "expectations.json"
    write_suite(frame, schema, path)
    return schema, frame, path


def test_the_data_that_wrote_it_passes(suite, toy_project):
    schema, frame, path = suite
    result = check(frame, schema, path, toy_project())
    assert result.passed
    assert result.quarantined == 0
    assert result.checked == len(json.loads(path.read_text())["expectations"]) >= 8


def test_bad_rows_are_set_aside_each_with_its_reason(suite, toy_project):
    schema, frame, path = suite
    frame = frame.copy()
    frame.loc[frame.index[3], "size"] = 1e9
    frame.loc[frame.index[7], "when"] = None
    result = check(frame, schema, path, toy_project())
    good, bad = quarantine(frame, result)
    assert (result.passed, len(good), len(bad)) == (True, 598, 2)
    assert "'size' must be between" in bad["reason"][0]
    assert "'when' must not be missing" in bad["reason"][1]


def test_unlabelled_rows_are_not_bad(suite, toy_project):
    schema, frame, path = suite
    assert check(frame.assign(amount=np.nan), schema, path, toy_project()).quarantined == 0


def test_a_table_that_is_not_what_it_was_stops(suite, toy_project):
    schema, frame, path = suite
    assert "'plan'" in check(frame.assign(plan="other"), schema, path, toy_project()).cause
    assert "'size'" in check(frame.assign(size=np.nan), schema, path, toy_project()).cause


def test_too_many_bad_rows_stop(suite, toy_project):
    schema, frame, path = suite
    frame = frame.copy()
    frame.loc[frame.index[:60], "serial"] = -1e15
    assert "max_bad_share" in check(frame, schema, path, toy_project()).cause
    assert check(frame, schema, path, toy_project(max_bad_share=0.2)).passed
    assert "on_failure is stop" in check(frame, schema, path, toy_project(on_failure="stop")).cause


def test_people_edit_the_file(suite, toy_project):
    schema, frame, path = suite
    content = json.loads(path.read_text())
    content["expectations"].append(
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "max_value": 12}}
    )
    path.write_text(json.dumps(content))
    result = check(frame, schema, path, toy_project(max_bad_share=1))
    assert result.quarantined == (frame["amount"] > 12).sum() > 0


@pytest.mark.parametrize(
    "expectation",
    [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "nowhere", "min_value": 0}},
        {"type": "expect_unicorns", "kwargs": {}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "when", "min_value": "last year"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "size", "min_value": "2024-01-01"}},
    ],
)
def test_an_expectation_that_cannot_run_is_a_mistake_in_the_file(suite, toy_project, expectation):
    schema, frame, path = suite
    path.write_text(json.dumps({"expectations": [expectation]}))
    with pytest.raises(ExpectationError, match=r"expect|Expect|unicorns"):
        check(frame, schema, path, toy_project())


@pytest.mark.parametrize("bound", ["2024-01-02", "2024-01-02T00:00:00", "2024-01-02T01:00:00+01:00"])
def test_dates_are_bounds_as_people_write_them(suite, toy_project, bound):
    schema, frame, path = suite
    kwargs = {"column": "when", "min_value": bound}
    path.write_text(json.dumps({"expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}))
    assert sorted(check(frame, schema, path, toy_project()).bad) == list(range(24))


def test_a_file_that_is_no_suite_is_named(suite, toy_project):
    schema, frame, path = suite
    path.write_text("[]")
    with pytest.raises(BadProject, match="expectations"):
        check(frame, schema, path, toy_project())


def test_the_page_escapes_what_is_in_the_data(suite, toy_project):
    schema, frame, path = suite
    attack = "<script>alert(1)</script>"
    content = json.loads(path.read_text())
    content["expectations"].append(
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "plan", "value_set": [attack]}}
    )
    path.write_text(json.dumps(content))
    page = render_page(
        check(frame, schema, path, toy_project()), attack, find_leaks(frame, schema, "tabular-regression")
    )
    assert attack not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page


def test_cells_that_cannot_be_read_set_their_rows_aside(toy, toy_table, suite, toy_project):
    schema, _, path = suite
    raw = toy_table.drop(columns="churned").astype({"serial": object})
    raw.loc[5, "serial"] = "twelve"
    frame = conform(raw, schema)
    good, bad = quarantine(frame, check(frame, schema, path, toy_project()))
    assert (len(good), len(bad)) == (599, 1)
    assert "serial: 'twelve' is no" in bad["reason"][0]
    assert BAD not in good


def test_ordinary_growth_and_a_few_new_categories_are_not_bad(suite, toy_project):
    schema, frame, path = suite
    grown = frame.assign(size=frame["size"] * 1.4)
    grown.loc[grown.index[:6], "plan"] = "team"
    assert check(grown, schema, path, toy_project()).failures == ()


def test_columns_without_a_value_do_not_crash(toy_table, tmp_path):
    made = Project.model_validate(
        {"name": "toy", "problem": "tabular-regression", "data": {"source": "toy.csv", "target": "amount"}}
    )
    raw = toy_table.drop(columns="churned").assign(empty=np.nan, nothing=None)
    schema = infer_schema(raw, made.data, made.problem)
    path = tmp_path / "expectations.json"
    write_suite(conform(raw, schema), schema, path)
    assert check(conform(raw, schema), schema, path, made).passed


def test_identifiers_that_were_unique_must_stay_so(toy_table, tmp_path, toy_project):
    raw = toy_table.drop(columns="churned").assign(order=[f"o{i * 7919 % 10007:05d}" for i in range(600)])
    schema = infer_schema(raw, toy_project().data, "tabular-regression")
    path = tmp_path / "expectations.json"
    write_suite(conform(raw, schema), schema, path)
    raw.loc[4, "order"] = raw.loc[9, "order"]
    result = check(conform(raw, schema), schema, path, toy_project())
    assert list(result.bad) == [4, 9]
    assert "'order' must be unique" in result.bad[4]


@pytest.mark.parametrize(
    "expectation",
    [
        {"type": "expect_column_to_exist", "kwargs": {"column": "size2"}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "size", "min_value": 1e6}},
    ],
)
def test_what_fails_for_the_whole_table_is_no_row(suite, toy_project, expectation):
    schema, frame, path = suite
    path.write_text(json.dumps({"expectations": [expectation]}))
    result = check(frame, schema, path, toy_project())
    assert (result.passed, result.quarantined) == (False, 0)
    assert [failure.kind for failure in result.failures] == ["table"]
    assert "\n" not in result.cause
