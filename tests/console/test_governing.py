"""What people read and change of the governor: breaker, triggers, labels that are set aside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from console import governing
from tests.answered import answered
from treadle.errors import NotFound
from treadle.ledger import Feedback, Ledger, Version
from treadle.ledger.slots import claim
from treadle.project import load_project
from treadle.retraining.governor import Governor
from treadle.retraining.steps import KIND, begun
from treadle.retraining.suspicion import FUTURE, examine
from treadle.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "name: shop\nproblem: tabular-regression\ndata: {source: a.csv, target: y}\nretrain: {min_new_labels: 2}\n"
    )
    settings = Settings(home=tmp_path)
    ledger, project = Ledger.open(settings), load_project("shop", settings)
    ledger.add_entries([answered(f"p{i}", "shop", 1, NOW, "{}", '{"prediction": 1.0}') for i in range(4)])
    ledger.add_feedback("shop", [Feedback(f"p{i}", 1.0, NOW + timedelta(days=30 * (i == 3))) for i in range(4)])
    examine(ledger, project, NOW)
    for minute in range(3):
        Governor(ledger, project).weigh("drift", "inputs moved.", NOW + timedelta(minutes=minute))
    return settings


def test_the_status_says_why_retrains_did_not_start(home):
    found = governing.status(home, "shop", 2)
    assert (found["policy"], found["suppressed"]) == ("treadle", {"cooldown": 2})
    assert (found["waiting"], found["labels_set_aside"], found["breaker"]) == (2, 1, None)
    assert [trigger["rule"] for trigger in found["triggers"]] == ["cooldown", "cooldown"]
    assert found["asked"]["state"] == "granted"
    for run in ("a", "b"):
        claim(Ledger.open(home), "watch", "shop", NOW, run)
    (slot,) = governing.status(home, "shop", 2)["slots"]
    assert (slot["run"], slot["spared_runs"]) == ("a", 1)
    text = governing.shown(found | {"slots": [slot]})
    assert "cooldown" in text
    assert "the last retrain was 2m ago" in text


def test_the_status_says_what_came_of_a_retrain(home):
    ledger = Ledger.open(home)
    governor = Governor(ledger, load_project("shop", home))
    granted = governing.status(home, "shop", 3)["asked"]["trigger"]
    assert governor.begin(granted, "run-1") is None
    ledger.record_decision("shop", "kept", "Of another run.", {"flow_run": "run-0"}, NOW)
    (row,) = [row for row in governing.status(home, "shop", 3)["triggers"] if row["trigger"] == granted]
    assert (row["state"], row["outcome"]) == ("running", None)
    ledger.record_decision("shop", "promoted", "It is better.", {"flow_run": "run-1"}, NOW)
    governor.end(granted, "run-1")
    found = governing.status(home, "shop", 3)
    outcomes = {row["trigger"]: row["outcome"] for row in found["triggers"]}
    assert outcomes.pop(granted) == {"kind": "promoted", "reason": "It is better."}
    assert set(outcomes.values()) == {None}
    (line,) = [line for line in governing.shown(found).splitlines() if line.startswith(f"{granted} ")]
    assert re.split(" {2,}", line)[2:4] == ["ended", "promoted"]
    assert f"{NOW:%Y-%m-%d %H:%M} UTC" in line


def test_the_status_says_how_a_stream_is_followed(home):
    ledger, path = Ledger.open(home), home.projects_dir / "shop" / "project.yaml"
    path.write_text(path.read_text().replace("min_new_labels: 2", "follow: 0.025"))
    ledger.add_version(Version("shop", 2, "run", "b/2", "d" * 64, "linear", {}, {}, None))
    assert governing.status(home, "shop", 1)["followed"] is None
    ledger.promote("shop", 2, None, reason="it won", figures={KIND: dict(begun(2, 1000).figures())})
    found = governing.status(home, "shop", 1)
    assert found["followed"] == (
        "The stream is followed from version 2 on, which knew 1,000 labelled rows. Labels say whether it pays from 1,250 rows on."
    )
    text = governing.shown(found)
    assert found["followed"] in text
    assert "treadle, and a stream that moves is followed with each 2.5 % of new labelled rows" in text


def test_the_breaker_is_closed_by_hand(home):
    ledger = Ledger.open(home)
    for _ in range(3):
        ledger.record_decision("shop", "kept", "not better", {}, datetime.now(UTC))
    assert "3 challengers in a row" in governing.status(home, "shop", 1)["breaker"]
    assert governing.close(home, "shop") == {"project": "shop", "breaker": "closed", "rejected_in_a_row": 3}
    assert governing.status(home, "shop", 1)["breaker"] is None


def test_labels_are_listed_released_and_dropped(home):
    (batch,) = governing.set_aside(home, "shop")
    assert (batch["batch"], batch["labels"], batch["reason"]) == (1, 1, FUTURE)
    assert governing.release_labels(home, "shop", 1) == {"project": "shop", "released": 1}
    with pytest.raises(NotFound, match="treadle labels list shop"):
        governing.drop_labels(home, "shop", None)
    with pytest.raises(NotFound, match="No project 'shap'"):
        governing.set_aside(home, "shap")


@pytest.mark.parametrize("words", [("governor", "status", "shop"), ("labels", "list", "shop")])
def test_the_commands_print_one_json_value(home, words):
    environment = os.environ | {"TREADLE_HOME": str(home.home)}
    command = [sys.executable, "-m", "console.cli", *words, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
