"""Batch answers: one row a row in the table's order, with what names it, and in the ledger when that is asked for."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pandas as pd
import pytest

import tasks.score as score
from treadle.ledger import Feedback
from treadle.models.answering import open_version
from treadle.tables.schema import Column, Schema


@pytest.fixture
def orders(installation, toy_table, ledger, tmp_path, monkeypatch):
    """A table of 90 rows in no order, with a number each that models do not see; version 1 is champion."""
    settings, _ = installation
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    monkeypatch.setattr(
        score, "create_markdown_artifact", lambda **_: None
    )  # Prefect's page; the wheel's test has a real one
    shutil.rmtree(settings.state_dir / "scores", ignore_errors=True)
    ledger.promote("toy", 1, None, reason="first")
    path = settings.projects_dir / "toy" / "schema.json"
    schema = Schema.load(path)
    if "order" not in [column.name for column in schema.columns]:
        schema.model_copy(update={"columns": (Column(name="order", kind="identifier"), *schema.columns)}).save(path)
    table = toy_table.sample(90, random_state=3).assign(order=[f"{number:05}" for number in range(90)])
    table[["order", "size", "serial", "member", "plan", "when"]].to_csv(tmp_path / "orders.csv", index=False)
    return tmp_path / "orders.csv"


def run(table, name="out.csv", **options):
    """The flow, step by step."""
    out = table.with_name(name)
    plan = score.plan_batches.fn("toy", str(table), str(out), None, 40, **options)
    for number in range(plan.batches):
        score.score_batch.fn(plan, number)
    said = score.gather_answers.fn(plan)
    return said, pd.read_csv(out, dtype={"order": "str"}) if out.suffix == ".csv" else pd.read_parquet(out)


def test_an_answer_a_row_in_the_tables_order_with_what_names_it(installation, orders, ledger):
    said, answers = run(orders)
    assert list(answers.columns) == ["order", "prediction"]
    assert answers["order"].tolist() == [f"{number:05}" for number in range(90)]
    settings, frame = installation
    expected = open_version(settings, ledger, "toy", 1).answer(frame.sample(90, random_state=3))
    assert np.allclose(answers["prediction"], expected)
    assert "recorded" not in said
    assert ledger.window("toy", 100) == []


def test_recorded_answers_take_labels_and_a_second_run_records_nothing_twice(orders, ledger):
    said, answers = run(orders, "out.parquet", record=True)
    assert said["recorded"] == 90
    assert list(answers.columns) == ["order", "prediction_id", "prediction"]
    ids = dict(zip(answers["order"], answers["prediction_id"], strict=True))
    ledger.add_feedback("toy", [Feedback(ids["00041"], 7.5, datetime.now(UTC))])
    again, same = run(orders, "again.parquet", record=True)
    assert again["recorded"] == 90
    assert same.equals(answers)
    rows = {row.id: row for row in ledger.window("toy", 200)}
    assert len(rows) == 90
    row = rows[ids["00041"]]
    assert (row.label, row.version) == (7.5, 1)
    asked = pd.read_csv(orders, dtype={"order": "str"}).set_index("order").loc["00041"]
    assert row.features["serial"] == asked["serial"]
    assert row.features["plan"] == (None if pd.isna(asked["plan"]) else asked["plan"])
    assert row.features["when"].startswith(str(asked["when"]).replace(" ", "T"))
    assert row.answer == {"prediction": answers.set_index("order").loc["00041", "prediction"]}


def test_a_run_that_was_killed_after_the_ledger_and_before_the_file_goes_on(orders, ledger):
    plan = score.plan_batches.fn("toy", str(orders), str(orders.with_name("x.csv")), None, 40, record=True)
    score.score_batch.fn(plan, 0)
    plan.part(0).unlink(missing_ok=True)
    _, answers = run(orders, "x.csv", record=True)
    assert answers["prediction_id"].tolist() == [f"{plan.job}-{number}" for number in range(90)]
    assert len(ledger.window("toy", 200)) == 90


def test_what_the_project_hides_is_not_recorded_and_a_row_without_an_answer_has_no_id(orders, ledger, monkeypatch):
    def opened(*words):
        answering = open_version(*words)
        manifest = msgspec.structs.replace(answering.bundle.manifest, redacted={"plan": "drop", "serial": "hash"})
        answering.bundle = replace(answering.bundle, manifest=manifest)
        answer = answering.answer
        answering.answer = lambda rows: np.where(np.arange(len(rows)) == 5, np.nan, answer(rows))
        return answering

    monkeypatch.setattr(score, "open_version", opened)
    table = orders.with_name("few.csv")
    pd.read_csv(orders, dtype="str").head(30).to_csv(table, index=False)
    said, answers = run(table, record=True)
    assert said["recorded"] == 29
    assert np.flatnonzero(answers["prediction_id"].isna()).tolist() == [5]
    kept = [row.features for row in ledger.window("toy", 100)]
    assert len(kept) == 29
    assert not any("plan" in features for features in kept)
    assert all(isinstance(features["serial"], str) and len(features["serial"]) == 16 for features in kept)


def test_numbers_and_texts_in_one_identifier_of_a_json_file_are_carried_as_text(orders):
    table = orders.with_name("mixed.jsonl")
    rows = json.loads(pd.read_csv(orders).head(3).to_json(orient="records"))
    lines = [json.dumps(row | {"order": order}) for row, order in zip(rows, [7, "A-7", None], strict=True)]
    table.write_text("\n".join(lines))
    _, answers = run(table, "out.parquet")
    assert answers["order"].tolist()[:2] == ["7", "A-7"]
    assert answers["order"].isna().tolist() == [False, False, True]
