"""A look's quality, over a real ledger and real files: labels that come late, never or in part; unknown is never 0."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from tasks import quality as task
from tests.answered import answered
from tests.treadle.quality.worlds import World
from treadle.ledger import Feedback, Ledger, QualityRows, Version
from treadle.models.evidence import Evidence
from treadle.quality.storage import keep_estimator, with_losses
from treadle.settings import Settings

MONDAY = datetime(2024, 4, 1, tzinfo=UTC)
ROWS = 24 * 7 * 3
WORLD = World("tabular-regression", "mae")
PROJECT = """
name: toy
problem: tabular-regression
data: {source: toy.csv, target: y}
promote: {metric: mae}
watch: {window: 336, min_rows: 100, min_labelled: 50}
"""
QUIET = {"verdict": "ok", "columns": [{"name": "shop", "drifted": False}]}


@pytest.fixture(scope="module")
def estimator():
    return WORLD.estimator()


@pytest.fixture
def home(tmp_path, monkeypatch, estimator):
    """A champion that has answered three weeks of hours, and what was learned to estimate it by."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path))
    monkeypatch.setattr(task, "_show", lambda *_: None)  # Prefect's page; the wheel's test has a real one
    settings = Settings()
    folder = settings.projects_dir / "toy"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT)
    WORLD.schema.save(folder / "schema.json")
    ledger = Ledger.open(settings)
    ledger.add_version(Version("toy", 1, "run", "b/1", "d" * 64, "linear", {}, {}, None))
    ledger.promote("toy", 1, None, reason="first")
    frame = WORLD.rows(ROWS, 1)
    answers = WORLD.answer(frame)
    asked = frame[["risk", "colour", "shop"]].to_dict("records")
    ledger.add_entries(
        [
            answered(f"p{i}", "toy", 1, MONDAY + timedelta(hours=i), json.dumps(row), json.dumps({"prediction": said}))
            for i, (row, said) in enumerate(zip(asked, answers.tolist(), strict=True))
        ]
    )
    known = WORLD.rows(2000, 91)
    keep_estimator(
        estimator, with_losses(known, ["risk", "colour", "shop"], WORLD.losses(known)), Evidence(settings, "toy").of(1)
    )
    return SimpleNamespace(settings=settings, ledger=ledger, frame=frame, answers=answers)


def label(home, which, at):
    home.ledger.add_feedback("toy", [Feedback(f"p{i}", float(home.frame["y"][i]), at) for i in which])


def look(at, verdict=QUIET):
    return task.follow_quality.fn("toy", at.isoformat(), verdict)


def truth(home, which):
    which = list(which)
    return float(np.abs(home.frame["y"].to_numpy()[which] - home.answers[which]).mean())


THREE_WEEKS = MONDAY + timedelta(days=21)


def test_without_labels_quality_is_unknown_and_estimated(home):
    said = look(THREE_WEEKS)
    assert [w["answered"] for w in said["windows"]] == [168, 168, 168]
    assert {w["metric"] for w in said["windows"]} == {None}
    assert {w["coverage"] for w in said["windows"]} == {0.0}
    assert said["coverage"] == {"answered": 336, "labelled": 0, "share": 0.0, "early": 0, "expired": 0}
    assert said["estimate"]["track_record"] is None
    assert said["estimate"]["method"] == "loss"
    assert said["estimate"]["low"] <= truth(home, range(168, ROWS)) <= said["estimate"]["high"]
    spans = [range(168 * number, 168 * number + 168) for number in range(3)]
    held = [w["low"] <= truth(home, span) <= w["high"] for w, span in zip(said["windows"], spans, strict=True)]
    assert sum(held) >= 2  # nine of ten do, and these are three


def test_a_tenth_of_the_labels_is_too_little_to_measure(home):
    label(home, range(0, ROWS, 10), THREE_WEEKS)
    said = look(THREE_WEEKS)
    assert {w["labelled"] for w in said["windows"]} == {17}
    assert {w["metric"] for w in said["windows"]} == {None}
    assert said["coverage"]["share"] == pytest.approx(0.1, abs=0.01)


def test_labels_30_days_late_measure_the_windows_that_they_belong_to(home):
    """Before they are known nothing is measured; then the truth stands beside the estimate that was made before."""
    before = look(THREE_WEEKS)
    label(home, range(ROWS), MONDAY + timedelta(days=51))
    assert {w["metric"] for w in look(THREE_WEEKS + timedelta(days=8))["windows"]} == {None}
    after = look(MONDAY + timedelta(days=52))
    assert [w["estimate"] for w in after["windows"]] == [w["estimate"] for w in before["windows"]]
    for number, window in enumerate(after["windows"]):
        assert window["coverage"] == 1.0
        assert window["metric"] == pytest.approx(truth(home, range(168 * number, 168 * number + 168)))
    record = after["estimate"]["track_record"]
    errors = [abs(w["metric"] - w["estimate"]) for w in after["windows"]]
    inside = np.mean([w["low"] <= w["metric"] <= w["high"] for w in after["windows"]])
    assert record == {"windows": 3, "mean_absolute_error": pytest.approx(np.mean(errors)), "inside": inside}


def test_half_the_labels_measure_and_the_rest_change_the_measure(home):
    label(home, range(0, ROWS, 2), THREE_WEEKS)
    assert look(THREE_WEEKS)["windows"][0]["metric"] == pytest.approx(truth(home, range(0, 168, 2)))
    label(home, range(1, ROWS, 2), THREE_WEEKS)
    assert look(THREE_WEEKS)["windows"][0]["metric"] == pytest.approx(truth(home, range(168)))


def test_the_window_that_is_still_open_is_shown_and_not_kept(home):
    said = look(MONDAY + timedelta(days=17))
    assert [w["answered"] for w in said["windows"]] == [168, 168, 73]
    kept = QualityRows(home.ledger).windows("toy", "mae", THREE_WEEKS, 9)
    assert [w.answered for w in kept] == [168, 168]


def test_moved_inputs_cost_something_or_nothing(home):
    moved = {"verdict": "drift", "columns": [{"name": "colour", "drifted": True}]}
    assert look(THREE_WEEKS, moved)["impact"]["harm"] == 0.0
    harmful = {"verdict": "drift", "columns": [], "findings": [{"kind": "categories", "name": "shop", "drifted": True}]}
    assert isinstance(look(THREE_WEEKS, harmful)["impact"]["harm"], float)
    predictions = {
        "verdict": "drift",
        "columns": [],
        "findings": [{"kind": "prediction", "name": "y", "drifted": True}],
    }
    assert look(THREE_WEEKS, predictions)["impact"]["harm"] is None
    assert look(THREE_WEEKS, {"verdict": "invalid"})["impact"]["harm"] is None


def test_a_version_without_an_estimator_is_not_known_and_not_0(home):
    for path in Evidence(home.settings, "toy").of(1).iterdir():
        path.unlink()
    said = look(THREE_WEEKS)
    assert said["estimate"] is None
    assert {w["estimate"] for w in said["windows"]} == {None}
    assert said["impact"]["harm"] is None


def test_a_champion_that_has_answered_nothing(home):
    said = look(MONDAY - timedelta(days=1))
    assert said["windows"] == []
    assert said["coverage"] == {"answered": 0, "labelled": 0, "share": None, "early": 0, "expired": 0}
    assert said["estimate"] is None
