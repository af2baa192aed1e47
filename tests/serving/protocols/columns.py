"""Tables of the toy model, written as Arrow or Parquet by pyarrow, sent, and read again."""

import datetime as dt
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.protocols.arrow import PARQUET, STREAM

PATH = "/v1/models/toy/predict"
ROWS = 5000


def table(rows=ROWS, **changes):
    when = pa.array([dt.datetime(2011, 1, 1, 5)] * rows, pa.timestamp("us"))
    columns = {
        "temp": pa.array(np.arange(rows, dtype=np.float64)),
        "holiday": pa.array([row % 2 == 0 for row in range(rows)]),
        "when": when,
        "season": pa.array(["summer", "winter", None, "never seen"] * (rows // 4) + ["summer"] * (rows % 4)),
    }
    return pa.table({name: values for name, values in (columns | changes).items() if values is not None})


def answers(rows=ROWS):
    warm = [10.0 if row % 4 == 0 else 0.0 for row in range(rows)]
    return [row + 100.0 * (row % 2 == 0) + warm[row] + 1000.0 for row in range(rows)]


def body(data, form=STREAM, **options):
    file = io.BytesIO()
    if form == PARQUET:
        pq.write_table(data, file, **options)
    else:
        make = pa.ipc.new_stream if form == STREAM else pa.ipc.new_file
        with make(file, data.schema) as writer:
            writer.write_table(data, **options)
    return file.getvalue()


def read(reply):
    assert reply.status_code == 200, reply.text
    if reply.headers["content-type"] == PARQUET:
        return pq.read_table(io.BytesIO(reply.content))
    assert reply.headers["content-type"] == STREAM
    return pa.ipc.open_stream(reply.content).read_all()


def ask(client, content, form=STREAM, accept=None, path=PATH):
    headers = {"content-type": form} | ({"accept": accept} if accept else {})
    return client.post(path, content=content, headers=headers)


def refused(reply, status, column=None, row=None):
    assert reply.status_code == status, reply.text[:200]
    assert reply.headers["content-type"] == "application/problem+json"
    said = reply.json()
    assert (said.get("column"), said.get("row")) == (column, row), said
