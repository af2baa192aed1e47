"""Files of a project: rows of a subject go, what names the subject goes, and what others need stays."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tests.answered import answered
from treadle.erasure import ROW_IDS, erase
from treadle.ledger import Feedback, Ledger
from treadle.ledger.set_aside import batches, put_aside
from treadle.ledger.triggers import hold
from treadle.models.evidence import Evidence
from treadle.project import Project

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
PROJECT = Project.model_validate(
    {
        "name": "shop",
        "problem": "tabular-regression",
        "data": {"source": "t.csv", "target": "y"},
        "privacy": {"subject": "user"},
    }
)
WHO = "4711"


@pytest.fixture
def ledger(settings):
    return Ledger.open(settings)


@pytest.fixture
def erased(settings, ledger):
    """Erases the subject."""
    return lambda: erase(settings, ledger, PROJECT, WHO, "ann")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content, encoding="utf-8")
    return path


def test_labels_that_were_set_aside_or_wait_go_too(ledger, erased):
    rows = {"theirs": WHO, "others": "4712"}
    ledger.add_entries([answered(i, "shop", 1, AT, json.dumps({"user": who}), "{}") for i, who in rows.items()])
    ledger.add_feedback("shop", [Feedback(i, 1.0, AT) for i in rows], key_id="k")
    with ledger.change() as connection:
        hold(connection, "shop")
        assert put_aside(connection, "shop", "k", datetime(2024, 1, 1, tzinfo=UTC), AT, "why") == 2
    assert erased().predictions == 1
    assert [batch.labels for batch in batches(ledger, "shop")] == [1]
    assert [row.id for row in ledger.window("shop", 9)] == ["others"]


def test_ids_of_rows_stay_whatever_digits_are_in_them(settings, erased):
    """Without them a gate would judge by rows that a version has learned from, and a new holdout would be frozen."""
    evidence = Evidence(settings, "shop")
    evidence.freeze(["t:9f4711ab00000000", "t:4711471147114711", "p:4711"])
    evidence.keep_seen(1, ["t:9f4711ab00000000"])
    split = write(settings.state_dir / "turns" / "shop" / "run" / "split.json", '{"train": ["t:4711"]}')
    assert {path.name for path in settings.home.rglob("*.json")} == set(ROW_IDS)
    assert erased().removed == []
    assert len(evidence.holdout()) == 3
    assert len(evidence.seen(1)) == 1
    assert split.exists()


def test_what_belongs_to_a_row_goes_with_it(settings, erased):
    folder = settings.state_dir / "turns" / "shop" / "run"
    folder.mkdir(parents=True)
    pd.DataFrame({"user": ["1", WHO, "2"], "x": [0, 1, 2]}).to_parquet(folder / "judged.parquet")
    np.savez(folder / "judged.npz", y=np.arange(3.0), answer=np.arange(6.0).reshape(3, 2), timed=np.array([True]))
    np.savez(folder / "other.npz", losses=np.arange(3.0))
    assert erased().changed == [".treadle/turns/shop/run/judged.parquet"]
    assert pd.read_parquet(folder / "judged.parquet")["x"].tolist() == [0, 2]
    with np.load(folder / "judged.npz") as kept:
        assert (kept["y"].tolist(), kept["answer"].tolist(), kept["timed"].tolist()) == (
            [0, 2],
            [[0, 1], [4, 5]],
            [True],
        )
    with np.load(folder / "other.npz") as kept:
        assert len(kept["losses"]) == 3
    assert not list(folder.glob("*.part"))


def test_answers_of_replays_are_found_and_those_of_other_projects_stay(settings, erased):
    frame = pd.DataFrame({"user": [WHO, "2"]})
    places = {name: settings.state_dir / "replays" / name / "step-0000.parquet" for name in ("shop-18f", "shop-eu-18f")}
    for path in places.values():
        path.parent.mkdir(parents=True)
        frame.to_parquet(path)
    assert erased().changed == [".treadle/replays/shop-18f/step-0000.parquet"]
    assert len(pd.read_parquet(places["shop-eu-18f"])) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".treadle/reports/shop/looks/a.html", "<p>user = 4711</p>"),
        (".treadle/turns/shop/run/scores.json", '{"slice": "user = 4711"}'),
        ("mlruns/evidence/shop/1/estimator.json", '{"levels": ["4711"]}'),
        ("mlruns/evidence/shop/1/estimator.onnx", b"\xff\x0a\x044711\x12"),
        ("mlruns/artifacts/shop/run/artifacts/last-look.html", "<p>user = 4711</p>"),
    ],
)
def test_a_file_that_names_the_subject_is_removed(settings, erased, name, content):
    path = write(settings.home / name, content)
    assert erased().removed == [name]
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".treadle/reports/shop/looks/a.html", "<p>0.4711 of 24711 rows</p>"),
        (".treadle/reports/other/looks/a.html", "<p>user = 4711</p>"),
        (".treadle/turns/shop/run/plot.png", b"\x89PNG4711"),
        ("mlruns/artifacts/shop/models/m-1/artifacts/MLmodel", "4711"),
        ("projects/shop/data.csv", "user\n4711\n"),
    ],
)
def test_any_other_stays(settings, erased, name, content):
    path = write(settings.home / name, content)
    done = erased()
    assert (done.removed, done.changed) == ([], [])
    assert path.exists()
