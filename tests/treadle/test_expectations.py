"""Validation: what the data wrote itself passes, what breaks it is set aside or stops, and a mistake is not bad rows."""

import json

import numpy as np
import pytest

from treadle.errors import BadProject
from treadle.expectations import ExpectationError, check, quarantine, write_suite
from treadle.leaks import find_leaks
from treadle.project import Project
from treadle.validation_page import render_page


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
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "when", "min_value": "2024-01-01"}},
    ],
)
def test_an_expectation_that_cannot_run_is_a_mistake_in_the_file(suite, toy_project, expectation):
    schema, frame, path = suite
    path.write_text(json.dumps({"expectations": [expectation]}))
    with pytest.raises(ExpectationError, match=r"expect|Expect|unicorns"):
        check(frame, schema, path, toy_project())


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
