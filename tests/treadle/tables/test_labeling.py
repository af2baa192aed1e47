"""Labels from outside the table: late, ruled, audited; and a no-op that says that it is one."""

from datetime import UTC, datetime

import numpy as np
import pytest

from treadle.errors import BadProject
from treadle.ledger import Row
from treadle.problems import load_problem
from treadle.project import Data, read_project
from treadle.tables.data import AT, ROW, SOURCE, conform, infer_schema
from treadle.tables.labeling import apply_rules, audit_labels, late_labels

RULES = """
def big(row): return "yes" if row["size"] is not None and row["size"] > 60 else None
def member(row): return "yes" if row["member"] else "no"
def wrong_class(row): return "maybe"
def raises(row): return row["nothing"]
def a_list(row): return ["yes"]
def number(row): return float("nan")
constant = 3
"""


@pytest.fixture
def project(tmp_path):
    def make(*rules):
        folder = tmp_path / "toy"
        folder.mkdir(exist_ok=True)
        (folder / "rules.py").write_text(RULES)
        names = ", ".join(f"rules:{rule}" for rule in rules)
        text = f"name: toy\nproblem: tabular-classification\ndata: {{source: t.csv, target: churned}}\nlabel: {{rules: [{names}]}}"
        (folder / "project.yaml").write_text(text)
        return read_project(folder / "project.yaml")

    return make


@pytest.fixture
def gaps(toy):
    schema, frame = toy("tabular-classification")
    frame.loc[frame.index[:100], "churned"] = None
    return schema, frame


def test_without_rules_nothing_happens_and_it_says_so(gaps, project):
    schema, frame = gaps
    ruled = apply_rules(frame, project(), schema)
    assert ruled.frame is frame
    assert "nothing to fill" in ruled.said


def test_rules_fill_gaps_and_leave_labels_alone(gaps, project):
    schema, frame = gaps
    ruled = apply_rules(frame, project("big", "member"), schema)
    filled = ruled.frame["churned"][:100]
    assert ruled.filled == filled.notna().sum() > 50
    assert (ruled.frame[SOURCE][:100][filled.notna()] == "rules").all()
    assert ruled.frame["churned"][100:].equals(frame["churned"][100:])
    assert all(0.4 < report.accuracy <= 1 for report in ruled.rules)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("raises", "raised KeyError"),
        ("wrong_class", "said 'maybe' on row"),
        ("a_list", "none of the classes"),
        ("absent", "cannot load"),
        ("constant", "not a function"),
    ],
)
def test_a_bad_rule_is_named(gaps, project, rule, why):
    schema, frame = gaps
    with pytest.raises(BadProject, match=f"rules:{rule}") as error:
        apply_rules(frame, project(rule), schema)
    assert why in str(error.value)


def test_a_module_that_fails_is_named(gaps, project):
    schema, frame = gaps
    made = project("big")
    (made.folder / "rules.py").write_text("1 / 0")
    with pytest.raises(BadProject, match="cannot load 'rules:big': ZeroDivisionError"):
        apply_rules(frame, made, schema)


def test_rules_may_use_dataclasses(gaps, project):
    schema, frame = gaps
    made = project("big")
    (made.folder / "rules.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Limit:\n    size: float\n\ndef big(row): return 'yes' if Limit(1.0).size else None\n"
    )
    assert apply_rules(frame, made, schema).filled == 100


def test_a_rule_for_numbers_gives_finite_ones(toy, project):
    schema, frame = toy("tabular-regression")
    frame.loc[frame.index[:5], "amount"] = np.nan
    with pytest.raises(BadProject, match="not a finite number"):
        apply_rules(frame, project("number"), schema)
    with pytest.raises(BadProject, match="not a finite number"):
        apply_rules(frame, project("wrong_class"), schema)


def test_rules_that_contradict_each_other_abstain_and_it_is_told(gaps, project):
    schema, frame = gaps
    frame = frame.head(120)
    made = project("always_yes", "always_no")
    (made.folder / "rules.py").write_text("def always_yes(row): return 'yes'\ndef always_no(row): return 'no'\n")
    ruled = apply_rules(frame, made, schema)
    assert ruled.filled == 0
    assert [(r.spoke, r.judged, r.conflicts, r.weight) for r in ruled.rules] == [(120, 20, 120, 1.0)] * 2


def test_late_labels_become_rows_of_the_table(toy):
    schema, frame = toy("tabular-regression")
    sent = {"size": 51.5, "serial": 1e12, "member": True, "plan": None, "when": "2024-03-01T05:00:00Z"}
    at = datetime(2024, 3, 1, 5, tzinfo=UTC)
    late = late_labels([Row("a", 1, at, sent, {"prediction": 1.0}, 7.5)], schema, frame)
    row = late.frame.iloc[0]
    assert (row["size"], row["member"], row["amount"], row[ROW], row[SOURCE]) == (51.5, 1.0, 7.5, "p:a", "feedback")
    assert row[AT] == at.replace(tzinfo=None)
    assert list(late.frame.dtypes) == list(frame.dtypes)


def test_a_row_of_the_table_is_not_joined_twice(toy_table):
    raw = toy_table.drop(columns="churned")
    schema = infer_schema(raw, Data(source="x", target="amount", time="when"), "tabular-regression")
    frame = conform(raw, schema)
    first = frame.iloc[1]
    sent = {
        "size": first["size"], "serial": first["serial"], "member": bool(first["member"]),
        "plan": first["plan"], "when": first["when"].isoformat(),
    }  # fmt: skip
    late = late_labels([Row("a", 1, first["when"].to_pydatetime().replace(tzinfo=UTC), sent, {}, 3.0)], schema, frame)
    assert len(late.frame) == 0
    assert "1 of them for rows of the table" in late.said


def test_audit_finds_flipped_labels(toy):
    schema, frame = toy("tabular-classification")
    problem = load_problem("tabular-classification")
    y = problem.encode_target(frame["churned"], schema)
    answer = np.column_stack([np.where(y == 0, 0.95, 0.05), np.where(y == 1, 0.95, 0.05)])
    flipped = y.copy()
    flipped[:12] = 1 - flipped[:12]
    audit = audit_labels(frame, schema, flipped, answer)
    assert audit.count >= 12
    assert set(frame[ROW][:12]) <= {s["row"] for s in audit.suspects}


def test_nothing_to_audit_is_said(toy):
    schema, frame = toy("tabular-classification")
    audit = audit_labels(frame.head(0), schema, np.empty(0), np.empty((0, 2)))
    assert "nothing was done" in audit.said


def test_audit_of_good_labels_says_none(toy):
    schema, frame = toy("tabular-regression")
    y = frame["amount"].to_numpy()
    audit = audit_labels(frame, schema, y, y + np.random.default_rng(0).normal(0, 0.1, len(y)))
    assert audit.suspects == ()
    assert "None of" in audit.said
