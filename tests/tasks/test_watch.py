"""A look reads the ledger: rows, answers, labels and earlier looks, and judges them by the version's own reference."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import tasks.watch
from tasks.watch import look_at
from tests.answered import answered
from treadle.learning.reference import keep_reference, load_reference, make_reference
from treadle.ledger import Feedback, Ledger, VerdictRow, Version
from treadle.problems import load_problem
from treadle.project import Project

AT = datetime(2024, 5, 1, tzinfo=UTC)
PROJECT = Project.model_validate(
    {
        "name": "toy",
        "problem": "tabular-classification",
        "data": {"source": "toy.csv", "target": "churned"},
        "privacy": {"columns": {"serial": "drop"}},
    }
)


class Constant:
    """Knows how often each class is, and nothing of a row."""

    def predict_proba(self, X):
        return np.tile([0.6, 0.4], (len(X), 1)) + np.linspace(-0.1, 0.1, len(X))[:, None] * [1, -1]


@pytest.fixture
def look(toy, tmp_path, settings):
    """Sends rows of the toy table to the ledger as predictions, changed by `change`, and looks at them."""
    schema, frame = toy("tabular-classification")
    reference, _, _ = make_reference(
        frame, schema, load_problem(PROJECT.problem), "log_loss", lambda rows: Constant(), seed=0
    )
    keep_reference(reference, tmp_path / "1")
    ledger = Ledger.open(settings)
    ledger.add_version(Version("toy", 1, "run", "b/1", "d" * 64, "linear", {}, {}, None))

    def send(change=lambda row: row, labels=0, project=PROJECT):
        rng = np.random.default_rng(4)
        rows = frame.iloc[rng.choice(len(frame), 300)]
        features = rows[[c.name for c in schema.features if c.name != "serial"]]
        plain = json.loads(features.to_json(orient="records", date_format="iso"))
        shares = Constant().predict_proba(rows)[rng.permutation(300)]
        ledger.add_entries(
            [
                answered(
                    f"p{i}", "toy", 1, AT - timedelta(hours=300 - i), json.dumps(change(row)),
                    json.dumps({"prediction": "no", "probabilities": {"no": share[0], "yes": share[1]}}),
                )
                for i, (row, share) in enumerate(zip(plain, shares, strict=True))
            ]
        )  # fmt: skip
        known = zip(range(labels), rows["churned"], strict=False)
        ledger.add_feedback("toy", [Feedback(f"p{i}", label, AT) for i, label in known])
        return look_at(settings, project, ledger, schema, load_reference(tmp_path / "1"), 1, AT)

    send.ledger = ledger
    return send


def names(seen):
    return {f"{f.kind}:{f.name}" for f in seen.found.findings}


def test_a_quiet_look_with_labels_compares_every_kind(look):
    seen = look(labels=200)
    assert seen.found.verdict == "ok", seen.found.reason
    assert (len(seen.rows), seen.labelled) == (300, 200)
    assert names(seen) >= {"input:size", "missing:size", "categories:plan", "prediction:prediction", "target:target"}
    assert names(seen) >= {"quality:loss", "segment:plan = basic"}
    assert not any("serial" in name for name in names(seen))


def test_whose_rows_they_are_is_compared_and_no_slice(look):
    """A slice is told by its value."""
    privacy = PROJECT.privacy.model_copy(update={"subject": "plan"})
    seen = names(look(labels=200, project=PROJECT.model_copy(update={"privacy": privacy})))
    assert not any(name.startswith("segment:plan") for name in seen)
    assert "input:plan" in seen
    assert any(name.startswith("segment:member") for name in seen)


def test_drift_is_named_and_remembered_by_the_next_look(look):
    first = look(lambda row: row | {"size": (row["size"] or 50) + 30})
    assert first.found.verdict == "drift"
    assert "Inputs moved: size" in first.found.reason
    json.dumps(first.found.figures())
    earlier = AT - timedelta(hours=1)
    look.ledger.record_verdict("toy", VerdictRow(1, "drift", "", 300, 0, first.found.figures(), None, earlier))
    look.ledger.record_verdict("toy", VerdictRow(2, "drift", "", 300, 0, {}, None, earlier))
    again = [row for row in look.ledger.last_verdicts("toy") if row.version == 1]
    assert [f["name"] for f in again[0].figures["findings"] if f["drifted"]].count("size") >= 1


BROKEN = {
    "missing": (lambda row: {k: v for k, v in row.items() if k != "size"}, "lacks the column 'size'"),
    "renamed": (lambda row: {("sizes" if k == "size" else k): v for k, v in row.items()}, "was it renamed?"),
    "retyped": (lambda row: row | {"size": "tall"}, "'size' holds object, not numbers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_rows_of_another_schema_are_invalid_and_say_why(look, case):
    change, said = BROKEN[case]
    found = look(change).found
    assert found.verdict == "invalid"
    assert said in found.reason


def test_an_unknown_column_is_told(look):
    found = look(lambda row: row | {"color": "red"}).found
    assert found.verdict == "ok"
    assert "'color' that the model does not know" in found.reason


def test_a_version_whose_reference_is_gone_is_invalid(toy, settings):
    schema, _ = toy("tabular-classification")
    seen = look_at(settings, PROJECT, Ledger.open(settings), schema, None, 1, AT)
    assert seen.found.verdict == "invalid"
    assert len(seen.rows) == 0
    assert isinstance(seen.rows, pd.DataFrame)


def test_a_model_without_predictions_lacks_data(toy, settings, tmp_path):
    schema, frame = toy("tabular-classification")
    made, _, _ = make_reference(frame, schema, load_problem(PROJECT.problem), "log_loss", lambda _: Constant(), seed=0)
    assert look_at(settings, PROJECT, Ledger.open(settings), schema, made, 1, AT).found.verdict == "insufficient-data"


def test_what_prefect_shows_is_in_plain_words_and_says_nothing_as_markup(look, settings, monkeypatch):
    found = look(lambda row: row | {"size": (row["size"] or 50) + 30, "<b>": 1}).found
    shown = {}
    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(tasks.watch, name, lambda **kept: shown.update({kept["key"]: kept}))
    tasks.watch._show("toy", settings, found, VerdictRow(1, "drift", "", 300, 0, {}, None, AT))
    text, table = shown["toy-verdict"]["markdown"], shown["toy-drift"]["table"]
    assert "- input: " in text
    assert "standard deviations), since 2024-05-01" in text.replace("\\", "")
    assert "<b>" not in text
    json.dumps(table)
    assert table[0]["moved"]
    assert not table[-1]["moved"]
