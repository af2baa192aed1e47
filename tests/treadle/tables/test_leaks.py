"""Leaks are named before any training, and good tables are left in peace."""

import numpy as np
import pandas as pd
import pytest

from treadle.project import Data, read_project
from treadle.settings import CHECKOUT
from treadle.tables.data import conform, infer_schema, read_table
from treadle.tables.leaks import find_leaks


def look(table, target, problem="tabular-regression", **data):
    schema = infer_schema(table, Data(source="x", target=target, **data), problem)
    return {(finding.column, finding.kind): finding for finding in find_leaks(conform(table, schema), schema, problem)}


@pytest.fixture
def bikes():
    return read_table(str(CHECKOUT / "projects/bikes/data/bikes.parquet"))


def test_bikes_has_none_with_its_ignored_columns(bikes):
    project = read_project(CHECKOUT / "projects/bikes/project.yaml")
    assert look(bikes, "bikers", ignore=project.data.ignore, time="timestamp") == {}


def test_bikes_registered_is_named_without_them(bikes):
    assert ("registered", "leak") in look(bikes, "bikers", time="timestamp")


def test_adult_has_no_leak():
    table = read_table(str(CHECKOUT / "projects/adult/data/adult.parquet"))
    assert {kind for _, kind in look(table, "income", "tabular-classification")} <= {"duplicate-rows"}


def test_that_a_value_is_there_can_be_the_leak(toy_table):
    """As the number of the lifeboat on the Titanic: only survivors have one."""
    table = toy_table.assign(boat=np.where(toy_table["churned"] == "yes", np.arange(600) % 20, np.nan)).drop(
        columns="amount"
    )
    assert look(table, "churned", "tabular-classification")["boat", "leak"].severity == "warn"


def test_the_target_under_another_name_stops(toy_table):
    found = look(toy_table.drop(columns="churned").assign(copy=toy_table["amount"]), "amount")
    assert found["copy", "duplicate-of-target"].severity == "stop"


def test_identifiers_and_repeated_rows_are_told(toy_table):
    table = toy_table.drop(columns=["churned", "when"]).assign(name=[f"N{i:05}" for i in range(600)])
    assert ("name", "identifier") in look(table, "amount")
    twice = pd.concat([table.drop(columns="name")] * 2, ignore_index=True)
    assert "600 rows repeat" in look(twice, "amount")["", "duplicate-rows"].detail


def test_a_target_without_a_choice_stops(toy_table):
    schema = infer_schema(toy_table, Data(source="x", target="churned"), "tabular-classification")
    frame = conform(toy_table, schema)
    one = find_leaks(frame[frame["churned"] == "yes"], schema, "tabular-classification")
    none = find_leaks(frame.assign(churned=None), schema, "tabular-classification")
    assert [(finding.kind, finding.severity) for finding in one + none] == [
        ("one-class", "stop"),
        ("constant-target", "stop"),
    ]


def test_what_is_ignored_is_not_spoken_of_again(toy_table):
    table = toy_table.drop(columns="churned").assign(copy=toy_table["amount"])
    assert look(table, "amount", ignore=("copy",)) == {}


@pytest.mark.parametrize("answers", [{"yes": 1, "no": 0}, {"yes": "won", "no": "lost"}, {"yes": "late", "no": None}])
def test_the_target_in_other_words_is_named(toy_table, answers):
    table = toy_table.drop(columns="amount").assign(outcome=toy_table["churned"].map(answers))
    assert ("outcome", "leak") in look(table, "churned", "tabular-classification")


def test_columns_without_a_value_and_small_tables_do_not_crash(toy_table):
    table = toy_table.drop(columns="churned").assign(empty=np.nan, nothing=None)
    assert look(table, "amount") == {}
    assert look(table.iloc[:20], "amount") == {}


def test_columns_that_add_up_to_the_target_are_named(bikes):
    found = look(bikes, "bikers", time="timestamp")
    assert {"casual", "registered"} <= {column for column, kind in found if kind == "leak"}


def test_a_value_that_only_one_class_has_is_named(toy_table):
    """As the number of the body on the Titanic: only the dead have one, and few of them."""
    table = toy_table.drop(columns="amount")
    table["body"] = np.where((table["churned"] == "no") & (np.arange(600) % 8 == 0), np.arange(600), np.nan)
    assert "the target is no" in look(table, "churned", "tabular-classification")["body", "leak"].detail


def test_a_copy_in_another_dtype_is_a_copy(toy_table):
    table = toy_table.assign(
        churned=np.where(toy_table["churned"] == "yes", 1, 0), twin=1.0 * (toy_table["churned"] == "yes")
    )
    assert ("twin", "duplicate-of-target") in look(table.drop(columns="amount"), "churned", "tabular-classification")
