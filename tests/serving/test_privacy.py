"""No byte of what is dropped or hashed comes to rest, and no byte of an erased subject stays."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.protocols.arrow import STREAM
from tests.serving.conftest import COLUMNS, ROW, graph
from treadle.alerting.alerts import Notice
from treadle.erasure import erase
from treadle.errors import BadProject
from treadle.ledger import AlertBook
from treadle.ledger.audit import last, verify
from treadle.models.bundle import Manifest, Smoke
from treadle.privacy import privacy_key, pseudonym
from treadle.project import Alerts, Project

CANARY, OTHER = "canary-4711-person", "somebody-else-entirely"
WAYS = 6
"""Requests of `ask_every_way` that are answered, a row each."""


def found(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def project(**columns: str) -> Project:
    return Project.model_validate(
        {
            "name": "toy",
            "problem": "tabular-regression",
            "data": {"source": "t.csv", "target": "bikers"},
            "privacy": {"columns": columns, "subject": "season"},
        }
    )


def add(home, **redacted: str) -> None:
    manifest = Manifest(
        model="toy", version=1, problem="tabular-regression", family="linear", columns=COLUMNS, target="bikers",
        metric="mae",
        smoke=(Smoke(dict(ROW), (1013.5,)),), redacted=redacted,
    )  # fmt: skip
    home.add(manifest, graph(1000.0, classes=False))
    home.promote()


def ask_every_way(client: TestClient) -> None:
    row = ROW | {"season": CANARY}
    assert client.post("/v1/models/toy/predict", json={"rows": [row]}).status_code == 200
    assert client.post("/v1/models/toy/predict", json={"rows": [row], "ids": ["mine"]}).status_code == 200
    assert client.post("/v1/models/toy/invocations", json={"dataframe_records": [row]}).status_code == 200
    inputs = [
        {"name": "temp", "datatype": "FP64", "shape": [1], "data": [1.0]},
        {"name": "holiday", "datatype": "BOOL", "shape": [1], "data": [True]},
        {"name": "when", "datatype": "BYTES", "shape": [1], "data": ["2024-01-01"]},
        {"name": "season", "datatype": "BYTES", "shape": [1], "data": [CANARY]},
    ]
    assert client.post("/v2/models/toy/infer", json={"inputs": inputs}).status_code == 200
    assert client.post("/v1/models/toy/predict?explain=true", json={"rows": [row]}).status_code == 200
    table, sink = pa.Table.from_pylist([row]), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    arrow = {"content": sink.getvalue().to_pybytes(), "headers": {"content-type": STREAM}}
    assert client.post("/v1/models/toy/predict", **arrow).status_code == 200
    assert client.post("/v1/models/toy/predict", json={"rows": [row | {"temp": "warm"}]}).status_code == 422


@pytest.mark.parametrize("how", ["hash", "drop"])
def test_what_is_not_kept_is_nowhere(make_home, eventually, how):
    home = make_home()
    add(home, season=how)
    with TestClient(create_app(home.settings)) as client:
        ask_every_way(client)
        eventually(lambda: len(home.ledger.window("toy", 10)) == WAYS)
        assert found(home.settings.home, CANARY) == []
    stands_for = pseudonym(CANARY, privacy_key(home.settings))
    kept = {row.features.get("season") for row in home.ledger.window("toy", 10)}
    assert kept == ({stands_for} if how == "hash" else {None})


@pytest.mark.parametrize("how", ["hash", "keep"])
def test_an_erased_subject_is_nowhere_and_others_stay(make_home, eventually, how):
    home = make_home()
    add(home, **({} if how == "keep" else {"season": how}))
    settings = home.settings
    with TestClient(create_app(settings)) as client:
        ask_every_way(client)
        client.post("/v1/models/toy/feedback", json={"labels": [{"id": "mine", "label": 1}]})
        client.post("/v1/models/toy/predict", json={"rows": [ROW | {"season": OTHER}]})
        eventually(lambda: len(home.ledger.window("toy", 10)) == WAYS + 1)
    frame = pd.DataFrame({"season": [CANARY, OTHER], "temp": [1.0, 2.0]})
    table = settings.state_dir / "turns" / "toy" / "run" / "rows.parquet"
    report = settings.reports_dir / "toy" / "drift.html"
    for path in (table, report):
        path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(table)
    report.write_text(f"<p>{CANARY}</p>")
    said = f"the loss where season = {CANARY} is 1.40 times what was normal"
    notice = Notice("quality-loss", "", "critical", said, (f"season = {CANARY}",), (("What happened", said),))
    AlertBook(home.ledger).follow_look("toy", "quality-loss", [notice], datetime(2024, 5, 1, tzinfo=UTC), 2)
    AlertBook(home.ledger).write_messages(lambda _: Alerts(), lambda alert, _: ("toy", alert.reason))
    done = erase(settings, home.ledger, project(season=how), CANARY, "ann")
    assert (done.predictions, done.texts, len(done.changed), len(done.removed)) == (WAYS, 2, 1, 1)
    assert found(settings.home, CANARY) == []
    assert found(settings.home, pseudonym(CANARY, privacy_key(settings))) == []
    assert pd.read_parquet(table)["season"].tolist() == [OTHER]
    assert len(home.ledger.window("toy", 10)) == 1
    (row,) = last(home.ledger.engine, 1)
    assert (row.who, row.what, row.subject, row.before) == ("ann", "erase", "toy", WAYS)
    assert verify(home.ledger.engine, home.ledger.anchor).trouble is None


def test_a_project_that_does_not_say_whose_rows_are_is_told(home):
    with pytest.raises(BadProject, match=r"privacy\.subject"):
        erase(home.settings, home.ledger, project(season="drop"), CANARY, "ann")


def test_old_bundles_have_no_policy():
    said = {
        "model": "toy",
        "problem": "tabular-regression",
        "family": "linear",
        "columns": [],
        "target": "y",
        "metric": "mae",
    }
    assert msgspec.convert(said, Manifest).redacted == {}
