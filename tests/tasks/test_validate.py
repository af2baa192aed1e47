"""What validation knows of a table goes on with its rows, so that the end of a turn can say it."""

import numpy as np
import pytest
from prefect.serializers import JSONSerializer

from tasks.validate import validate_data
from treadle.project import load_project
from treadle.retraining.turn import Rows, Turn
from treadle.tables.data import conform, digest, load_schema, snapshot


@pytest.fixture
def checked(settings, monkeypatch, toy_table):
    """Validates a table of which the target is `churned`."""
    monkeypatch.setenv("TREADLE_HOME", str(settings.home))
    monkeypatch.setattr("tasks.validate.create_markdown_artifact", lambda **_: None)

    def check(table):
        folder = settings.projects_dir / "toy"
        folder.mkdir(parents=True)
        yaml = "name: toy\nproblem: tabular-classification\ndata: {source: toy.parquet, target: churned}\n"
        (folder / "project.yaml").write_text(yaml)
        table.to_parquet(folder / "toy.parquet")
        schema = load_schema(load_project("toy", settings))
        turn = Turn("toy", "run", None, "for the test", 1)
        schema.save(turn.path("schema.json"))
        frame = conform(table, schema)
        return validate_data.fn(turn, Rows(snapshot(frame, settings, "toy"), len(frame), digest(frame)))

    return check


def test_leaks_and_repeats_are_said_with_the_rows(checked, toy_table):
    boat = np.where(toy_table["churned"] == "yes", np.arange(600) % 20, np.nan)
    leaking = toy_table.assign(boat=boat)
    rows = checked(leaking.iloc[[*range(600), 0, 1]])
    assert any("'boat'" in said and "data.ignore" in said for said in rows.findings)
    assert any(said.startswith("2 rows repeat") for said in rows.findings)
    kept = JSONSerializer()
    assert kept.loads(kept.dumps(rows)) == rows  # a turn that finds its table checked says the same


def test_of_a_table_without_oddities_nothing_is_said(checked, toy_table):
    assert checked(toy_table.drop(columns="amount")).findings == ()
