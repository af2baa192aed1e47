"""The report of a look: its page is made of the very rows that were judged, and of whatever is known of them."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tasks.report
from tasks.report import keep_newest, report_watch, since_when, write_page
from tests.answered import answered
from treadle.drift import Reference
from treadle.learning.reference import keep_reference
from treadle.ledger import Ledger, VerdictRow, Version
from treadle.models.evidence import Evidence
from treadle.pages.look import page_name
from treadle.project import load_project
from treadle.tables.inference import infer_schema

AT = datetime(2024, 5, 1, tzinfo=UTC)
YAML = """
name: toy
problem: tabular-regression
data: {source: toy.csv, target: y}
privacy: {columns: {secret: drop}, subject: who}
"""


@pytest.fixture
def installation(settings):
    """A project whose version 1 was watched: `temp` moved, `secret` is not kept, `who` says whose a row is."""
    rng = np.random.default_rng(3)
    n = 300
    frame = pd.DataFrame(
        {
            "temp": rng.normal(10, 1, n),
            "season": rng.choice(["winter", "summer"], n),
            "secret": rng.choice(["s1", "s2"], n),
            "who": rng.choice([f"person {i}" for i in range(8)], n),
            "y": rng.normal(size=n),
        }
    )
    folder = settings.projects_dir / "toy"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(YAML)
    project = load_project("toy", settings)
    schema = infer_schema(frame, project.data, project.problem)
    schema.save(folder / "schema.json")
    rows = frame.drop(columns="y")
    reference = Reference(rows, False, np.ones(100), np.full(100, -1))
    keep_reference(reference, Evidence(settings, "toy").of(1))
    ledger = Ledger.open(settings)
    ledger.add_version(Version("toy", 1, "run", "b/1", "d" * 64, "linear", {}, {}, None))
    sent = rows.drop(columns="secret").assign(temp=rows["temp"] + 8)
    ledger.add_entries(
        [
            answered(f"p{i}", "toy", 1, AT - timedelta(minutes=n - i), json.dumps(row), '{"prediction": 1.0}')
            for i, row in enumerate(sent.to_dict("records"))
        ]
    )
    return settings, ledger, project


LOOK = {
    "project": "toy", "version": 1, "verdict": "drift", "reason": "Inputs moved: temp.", "retrain": True,
    "retrain_reason": "drift: 60 new labelled rows.", "window": {"rows": 300, "labelled": 0}, "report": None,
    "columns": [
        {"name": "temp", "statistic": 0.99, "threshold": 0.15, "drifted": True},
        {"name": "season", "statistic": 0.02, "threshold": 0.15, "drifted": False},
    ],
}  # fmt: skip


def test_the_page_is_named_by_the_moment_of_the_verdict_which_is_no_look_before_itself(installation, monkeypatch):
    settings, ledger, _ = installation
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    monkeypatch.setattr(tasks.report, "_link", lambda *_: None)  # Prefect's and MLflow's servers
    ledger.record_verdict("toy", VerdictRow(1, "drift", "Inputs moved: temp.", 300, 0, {}, None, AT))
    told = report_watch.fn("toy", LOOK | {"at": AT.isoformat()})
    assert Path(told["page"]).name == page_name(ledger.last_verdicts("toy", 1)[0].at)
    assert told["since"] == {"at": AT.isoformat(), "looks": 1}


def test_the_page_draws_what_moved_from_the_rows_that_were_judged(installation):
    path = write_page(*installation, LOOK, AT, [])
    html = path.read_text()
    assert path.name == "20240501T000000.html"
    assert "Retrain. drift: 60 new labelled rows." in html
    assert re.search(r"median (9\.9|10).* → 1[78]\.", html)
    assert html.count("<svg") == 2
    assert "Version 1 in MLflow" in html


def test_columns_of_personal_data_are_not_drawn(installation):
    look = LOOK | {"columns": [{"name": name, "drifted": True} for name in ("temp", "secret", "who")]}
    html = write_page(*installation, look, AT, []).read_text()
    assert html.count("<svg") == 1
    assert "person 1" not in html
    assert "s1" not in html


@pytest.mark.parametrize(
    "lost", [["version"], ["window", "columns", "report"], [key for key in LOOK if key != "project"]]
)
def test_whatever_is_not_known_yet_the_page_is_written(installation, lost):
    look = {key: value for key, value in LOOK.items() if key not in lost}
    assert "What was decided" in write_page(*installation, look, AT, []).read_text()


def test_a_version_without_its_reference_has_a_page_without_pictures(installation):
    assert "<svg" not in write_page(*installation, LOOK | {"version": 7}, AT, []).read_text()


def row(hours, verdict):
    return VerdictRow(1, verdict, "", 0, 0, {}, None, AT - timedelta(hours=hours))


def test_since_when_counts_the_looks_that_say_the_same():
    past = [row(1, "drift"), row(2, "drift"), row(3, "ok"), row(4, "drift")]
    assert since_when("drift", past, AT) == {"at": (AT - timedelta(hours=2)).isoformat(), "looks": 3}
    assert since_when("ok", past, AT) == {"at": AT.isoformat(), "looks": 1}
    assert since_when(None, [], AT)["looks"] == 1


def test_looks_before_are_linked_only_while_their_pages_are_there(installation):
    write_page(*installation, LOOK, AT - timedelta(hours=1), [])
    html = write_page(*installation, LOOK, AT, [row(1, "drift"), row(2, "drift")]).read_text()
    assert html.count('.html">2024-04-30') == 1


def test_only_the_newest_pages_are_kept(tmp_path):
    for number in range(6):
        path = tmp_path / f"drift-{number}.html"
        path.write_text("x")
        os.utime(path, (number, number))
    (tmp_path / "validation.html").write_text("x")
    keep_newest(tmp_path, "drift-*.html", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift-4.html", "drift-5.html", "validation.html"]
    keep_newest(tmp_path / "nowhere", "*", 2)
