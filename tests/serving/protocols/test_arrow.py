"""Arrow and Parquet bodies: every form, every type, and what the ledger has of them; written and read by pyarrow."""

import datetime as dt
import time

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.protocols.arrow import FILE, JSON, PARQUET, STREAM, ArrowWriter, answer_form
from tests.serving.protocols.columns import PATH, ROWS, answers, ask, body, read, refused, table


@pytest.mark.parametrize("accept", [None, STREAM, PARQUET, JSON])
@pytest.mark.parametrize("form", [STREAM, FILE, PARQUET])
def test_every_form_in_and_out(client, form, accept):
    reply = ask(client, body(table(), form), form, accept)
    if accept == JSON:
        said = reply.json()
        assert said.keys() == {"model", "version", "digest", "predictions"}
        predictions = [row["prediction"] for row in said["predictions"]]
    else:
        said = read(reply)
        assert said.column_names == ["id", "prediction"]
        assert said.schema.metadata[b"model"] == b"toy"
        assert len(set(said["id"].to_pylist())) == ROWS
        predictions = said["prediction"].to_pylist()
    assert predictions == answers()
    assert reply.headers["x-model-version"] == "1"


def test_batches_of_any_size_are_answered_in_order(client):
    data = table()
    for size in (1700, 5000, 3):
        some = data.slice(0, 300) if size == 3 else data
        reply = read(ask(client, body(some, max_chunksize=size)))
        assert reply["prediction"].to_pylist() == answers()[: len(some)]


def test_classes_have_a_column_of_probabilities_each(make_home):
    home = make_home()
    home.register(classes=True)
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        said = read(ask(client, body(table(8, temp=pa.array(np.linspace(-120, 20, 8))))))
        assert said.column_names == ["id", "prediction", "probability_high", "probability_low"]
        shares = np.column_stack([said["probability_high"], said["probability_low"]])
        assert np.allclose(shares.sum(axis=1), 1)
        assert said["prediction"].to_pylist() == [("high", "low")[k] for k in shares.argmax(axis=1)]


TYPES = {
    "float16": ("temp", pa.array(np.arange(8, dtype=np.float16))),
    "float32": ("temp", pa.array(np.arange(8, dtype=np.float32))),
    "int8": ("temp", pa.array(range(8), pa.int8())),
    "uint64": ("temp", pa.array(range(8), pa.uint64())),
    "int64": ("temp", pa.array(range(8), pa.int64())),
    "truth as int": ("holiday", pa.array([1, 0] * 4, pa.int16())),
    "truth as text": ("holiday", pa.array(["yes", "no"] * 4)),
    "truth as dictionary": ("holiday", pa.array(["yes", "no"] * 4).dictionary_encode()),
    "seconds": ("when", pa.array([1293858000] * 8, pa.timestamp("s"))),
    "nanoseconds with a zone": ("when", pa.array([1293858000 * 10**9] * 8, pa.timestamp("ns", "Europe/Berlin"))),
    "milliseconds": ("when", pa.array([1293858000000] * 8, pa.timestamp("ms", "UTC"))),
    "date32": ("when", pa.array([dt.date(2011, 1, 1)] * 8, pa.date32())),
    "date64": ("when", pa.array([dt.date(2011, 1, 1)] * 8, pa.date64())),
    "time as text": ("when", pa.array(["2011-01-01T06:00:00+01:00"] * 8)),
    "large_string": ("season", pa.array(["summer", "winter", None, "x"] * 2, pa.large_string())),
    "string_view": ("season", pa.array(["summer", "winter", None, "x"] * 2, pa.string_view())),
    "dictionary": ("season", pa.array(["summer", "winter", None, "x"] * 2).dictionary_encode()),
    "dictionary of int8": (
        "season",
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2] * 2, pa.int8()), pa.array(["summer", "winter", "x"])),
    ),
}


@pytest.mark.parametrize(("column", "values"), TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_types(client, column, values, form):
    said = read(ask(client, body(table(8, **{column: values}), form), form))
    assert said["prediction"].to_pylist() == answers(8)


@pytest.mark.parametrize("form", [STREAM, PARQUET])
def test_what_is_not_known_is_null_as_in_json(trained_client, form):
    rows = [
        {"size": None, "serial": 1e12, "member": None, "plan": None, "when": None},
        {"size": 50.0, "serial": None, "member": True, "plan": "plus", "when": "2024-01-05T06:00:00"},
    ]
    data = pa.Table.from_pylist(
        [row | {"when": row["when"] and dt.datetime.fromisoformat(row["when"])} for row in rows]
    )
    path = "/v1/models/amount/predict"
    wanted = [row["prediction"] for row in trained_client.post(path, json={"rows": rows}).json()["predictions"]]
    nothing = data.set_column(3, "plan", pa.nulls(2)).set_column(4, "when", pa.nulls(2))
    emptied = [row | {"plan": None, "when": None} for row in rows]
    also = [row["prediction"] for row in trained_client.post(path, json={"rows": emptied}).json()["predictions"]]
    assert read(ask(trained_client, body(data, form), form, path=path))["prediction"].to_pylist() == wanted
    assert read(ask(trained_client, body(nothing, form), form, path=path))["prediction"].to_pylist() == also


def test_the_ledger_has_the_rows(client, home):
    data = table(6, temp=pa.array([1.5, 2, 3, 4, 5, 6.0]))
    ids = read(ask(client, body(data)))["id"].to_pylist()
    stored = {row.id: row for row in home.ledger.window("toy", 100)}
    wait_until(lambda: stored.update({row.id: row for row in home.ledger.window("toy", 100)}) or len(stored) == 6)
    when = "2011-01-01T05:00:00+00:00"
    assert stored[ids[0]].features == {"temp": 1.5, "holiday": True, "when": when, "season": "summer"}
    assert stored[ids[2]].features == {"temp": 3.0, "holiday": True, "when": when, "season": None}


def wait_until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_own_ids_and_event_times(client, home):
    ids = [f"own-{row}" for row in range(ROWS)]
    at = pa.array([dt.datetime(2012, 1, 1) + dt.timedelta(hours=row) for row in range(ROWS)], pa.timestamp("us"))
    data = table().append_column("name", pa.array(ids)).append_column("seen", at)
    reply = ask(client, body(data), path=f"{PATH}?ids=name&at=seen")
    assert read(reply)["id"].to_pylist() == ids
    newest = home.ledger.window("toy", 1)[0]
    assert (newest.id, newest.at) == (ids[-1], at[-1].as_py().replace(tzinfo=dt.UTC))
    refused(ask(client, body(data), path=f"{PATH}?ids=name&at=seen"), 409)
    labels = {"labels": [{"id": name, "label": 3} for name in ids[:5]]}
    assert client.post("/v1/models/toy/feedback", json=labels).json()["accepted"] == 5


def test_the_accepted_form():
    assert answer_form("", FILE) == STREAM
    assert answer_form("*/*", PARQUET) == PARQUET
    assert answer_form(f"text/html, {PARQUET};q=0.5, {JSON}", STREAM) == PARQUET


def test_the_writer_makes_one_stream(home):
    from serving.models.champions import Champions
    from serving.protocols.protocol import Answered, Asked

    champions = Champions(home.settings, home.ledger)
    champions.refresh()
    model = champions.get("toy")
    writer = ArrowWriter(model)
    parts = [
        writer.batch(Answered(model, np.array(values, np.float32), ids, Asked({}, len(ids))))
        for values, ids in (([1.5], ["a"]), ([2.5, 3.5], ["b", "c"]))
    ]
    said = pa.ipc.open_stream(b"".join(parts) + writer.end()).read_all()
    assert said.to_pydict() == {"id": ["a", "b", "c"], "prediction": [1.5, 2.5, 3.5]}
