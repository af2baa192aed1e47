"""MLflow's scoring protocol: MLflow's own server and Treadle's get the same bodies and must give the same answers.

`test_as_mlflow_answers` runs MLflow's app in this process; the slow test at the end starts `mlflow models serve`.
"""

import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.problem_details import BadRequest
from serving.protocols.scoring import Scoring

CSV = "text/csv"
ROW = {"size": 50.0, "serial": 1e12, "member": True, "plan": "plus", "when": "2024-01-05T06:00:00"}
GAPS = {"size": None, "serial": 1000000000100, "member": False, "plan": None, "when": "2024-01-05T07:00:00"}
TIMELESS = {name: value for name, value in ROW.items() if name != "when"}
HEADER = "size,serial,member,plan\n"


def without(*names):
    return {name: value for name, value in ROW.items() if name not in names}


def split(rows, **more):
    return {"dataframe_split": {"columns": list(ROW), "data": [[row[name] for name in ROW] for row in rows], **more}}


def columns(rows):
    return {name: [row[name] for row in rows] for name in ROW}


GOOD = {
    "split": split([ROW, GAPS]),
    "split with an index": split([ROW, GAPS], index=["a", "b"]),
    "split in another order": {"dataframe_split": {"columns": list(ROW)[::-1], "data": [list(ROW.values())[::-1]]}},
    "split of records": {"dataframe_split": {"data": [ROW]}},
    "records": {"dataframe_records": [ROW, GAPS]},
    "records with a gap": {"dataframe_records": [ROW, without("size", "serial")]},
    "instances": {"instances": [ROW, GAPS]},
    "instances by column": {"instances": columns([ROW, GAPS])},
    "one instance": {"instances": ROW},
    "inputs": {"inputs": [ROW, GAPS]},
    "inputs with a gap": {"inputs": [ROW, without("size")]},
    "inputs by column": {"inputs": columns([ROW, ROW])},
    "one input": {"inputs": ROW},
    "params": {"inputs": [ROW], "params": {"temperature": 1}},
    "params that are none": {"dataframe_records": [ROW], "params": [1]},
    "another key": {"dataframe_records": [ROW], "hello": 1},
    "NaN": {"dataframe_records": [ROW | {"size": float("nan")}]},
    "whole number": {"dataframe_records": [ROW | {"size": 50}]},
    "number as text": {"dataframe_records": [ROW | {"size": " 50 "}]},
    "true where a number belongs": {"inputs": [ROW | {"size": True}]},
    "one for true": {"instances": [ROW | {"member": 1}]},
    "truth not known": {"dataframe_records": [ROW | {"member": None}]},
    "required and not known": {"inputs": [ROW | {"serial": None}]},
    "extra column": {"dataframe_records": [ROW | {"colour": "red"}]},
    "category never seen": {"inputs": [ROW | {"plan": "gold"}]},
    "category as a number": {"dataframe_records": [ROW | {"plan": 3}]},
    "date": {"dataframe_records": [ROW | {"when": "2024-01-05"}]},
    "time with a space": {"inputs": [ROW | {"when": "2024-01-05 06:00:00.5"}]},
    "time not known": {"instances": [ROW | {"when": None}]},
    "empty time": {"dataframe_records": [ROW | {"when": ""}]},
    "time with a zone": {"inputs": [ROW | {"when": "2024-01-05T08:00:00+02:00"}]},
    "the same key twice": '{"inputs": [], "inputs": ' + json.dumps([ROW]) + "}",
}  # fmt: skip
BAD = {
    "empty body": "",
    "no JSON": "{",
    "no UTF-8": b'{"inputs": "\xff"}',
    "a list": [ROW],
    "a number": 3,
    "Treadle's own": {"rows": [ROW]},
    "two forms": {"dataframe_records": [ROW], "inputs": [ROW]},
    "split with a stranger": split([ROW], hello=1),
    "split without columns": {"dataframe_split": {"data": [list(ROW.values())]}},
    "split with a long row": {"dataframe_split": {"columns": list(ROW), "data": [[*ROW.values(), 1]]}},
    "split of values": {"dataframe_split": {"columns": list(ROW), "data": list(ROW.values())}},
    "split with a column twice": {"dataframe_split": {"columns": [*ROW, "size"], "data": [[*ROW.values(), 1]]}},
    "split without rows": split([]),
    "records as an object": {"dataframe_records": ROW},
    "no records": {"dataframe_records": []},
    "records of lists": {"dataframe_records": [[1, 2]]},
    "records of null": {"dataframe_records": [None]},
    "instances as lists": {"instances": [list(ROW.values())]},
    "no instances": {"instances": []},
    "instances with a gap": {"instances": [ROW, without("size")]},
    "inputs as lists": {"inputs": [list(ROW.values())]},
    "uneven inputs": {"inputs": columns([ROW, ROW]) | {"size": [1.0]}},
    "a number for inputs": {"inputs": 3},
    "null for inputs": {"inputs": None},
    "required column missing": {"dataframe_records": [without("serial")]},
    "optional column missing": {"inputs": [without("size")]},
    "a word for a number": {"dataframe_records": [ROW | {"size": "many"}]},
    "a list for a number": {"inputs": [ROW | {"size": [1]}]},
    "an object for a number": {"instances": [ROW | {"size": {"a": 1}}]},
    "a word for a time": {"dataframe_records": [ROW | {"when": "soon"}]},
}
CSVS = {
    "row": f"{HEADER}50.0,1000000000000,1.0,plus\n",
    "rows with gaps": f"{HEADER}50.0,1000000000000,1.0,plus\n,1000000000100,0,\n",
    "windows lines": f"{HEADER}50.0,1000000000000,1.0,plus\n".replace("\n", "\r\n"),
    "blank lines": f"{HEADER}\n50.0,1000000000000,1.0,plus\n\n",
    "quotes": f'{HEADER}"50.0",1000000000000,1.0,"pl,us"\n',
    "missing in words": f"{HEADER}NA,1000000000000,1.0,None\n",
    "byte order mark": f"\ufeff{HEADER}50.0,1000000000000,1.0,plus\n",
    "extra column": "size,x,serial,member,plan\n50.0,9,1000000000000,1.0,plus\n",
    "category of digits": f"{HEADER}50.0,1000000000000,1.0,3\n",
}
BAD_CSVS = {
    "nothing": "",
    "only a header": HEADER,
    "a word for a number": f"{HEADER}many,1,1,plus\n",
    "no header": "50.0,1000000000000,1.0,plus\n",
    "column missing": "size,member,plan\n50.0,1.0,plus\n",
    "no UTF-8": b"\xff\xfe",
}
TYPES = {
    "charset": ("application/json; charset=utf-8", 200),
    "charset in capitals": ("application/json;charset=UTF-8", 200),
    "another charset": ("application/json; charset=latin-1", 415),
    "a parameter": ("application/json; version=2", 415),
    "text": ("text/plain", 415),
}
# Where Treadle says otherwise on purpose: MLflow's status, Treadle's status; docs/protocols.md has the same table.
OTHERWISE = {
    "infinity": ({"dataframe_records": [ROW | {"size": float("inf")}]}, 200, 400),
    "infinity for a category": ({"dataframe_records": [ROW | {"plan": float("inf")}]}, 200, 400),
    "two for true": ({"dataframe_records": [ROW | {"member": 2}]}, 200, 400),
    "a list for a category": ({"dataframe_records": [ROW | {"plan": ["a"]}]}, 200, 400),
    "a number for a time": ({"dataframe_records": [ROW | {"when": 1704434400}]}, 200, 400),
    "a month for a time": ({"dataframe_records": [ROW | {"when": "2024-01"}]}, 200, 400),
    "an American date": ({"dataframe_records": [ROW | {"when": "01/05/2024"}]}, 200, 400),
    "a short row": ({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values()), [1.0]]}}, 200, 400),
    "an index for more rows": (split([ROW], index=[1, 2]), 200, 400),
    "a zone": ({"dataframe_records": [ROW | {"when": "2024-01-05T06:00:00Z"}]}, 400, 200),
    "times written in two ways": ({"dataframe_records": [ROW, ROW | {"when": "2024-01-05"}]}, 400, 200),
    "empty text for a number": ({"dataframe_records": [ROW | {"size": ""}]}, 400, 200),
}


def sent(body):
    return body if isinstance(body, str | bytes) else json.dumps(body)


def ask(client, path, body, kind="application/json"):
    return client.post(path, content=sent(body), headers={"content-type": kind})


@pytest.fixture(scope="session")
def mlflow_apps(trained):
    """MLflow's own scoring server of each model, in this process."""
    import mlflow
    from mlflow.pyfunc import scoring_server

    from treadle.models.tracking import client

    client(trained.settings)
    return {
        name: TestClient(scoring_server.init(mlflow.pyfunc.load_model(uri)), raise_server_exceptions=False)
        for name, uri in trained.uris.items()
    }


@pytest.fixture
def both(mlflow_apps, trained_client):
    """Asks MLflow's server and Treadle's."""

    def ask_both(name, body, kind="application/json"):
        own = ask(trained_client, f"/v1/models/{name}/invocations", body, kind)
        return ask(mlflow_apps[name], "/invocations", body, kind), own

    return ask_both


def same(theirs, ours):
    assert theirs.status_code == ours.status_code == 200, (theirs.text, ours.text)
    theirs, ours = theirs.json(), ours.json()
    assert list(theirs) == list(ours) == ["predictions"]
    assert np.shape(theirs["predictions"]) == np.shape(ours["predictions"])
    assert np.allclose(theirs["predictions"], ours["predictions"], rtol=1e-4, atol=1e-5)


def refused(theirs, ours):
    assert theirs.status_code == ours.status_code == 400, (theirs.text, ours.text)
    assert ours.headers["content-type"] == theirs.headers["content-type"] == "application/json"
    assert ours.json().keys() <= theirs.json().keys()
    assert ours.json()["error_code"] == "BAD_REQUEST"
    assert ours.json()["message"]


@pytest.mark.parametrize("model", ["amount", "churned"])
@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_as_mlflow_answers(both, model, body):
    same(*both(model, body))


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_mlflow_refuses_is_refused(both, body):
    refused(*both("amount", body))


@pytest.mark.parametrize("body", CSVS.values(), ids=CSVS)
def test_csv_as_mlflow_answers(both, body):
    same(*both("timeless", body, CSV))


@pytest.mark.parametrize("body", BAD_CSVS.values(), ids=BAD_CSVS)
def test_csv_that_mlflow_refuses(both, body):
    refused(*both("timeless", body, CSV))


@pytest.mark.parametrize(("kind", "status"), TYPES.values(), ids=TYPES)
def test_content_types(both, kind, status):
    assert [reply.status_code for reply in both("amount", {"inputs": [ROW]}, kind)] == [status, status]


@pytest.mark.parametrize(("body", "theirs", "ours"), OTHERWISE.values(), ids=OTHERWISE)
def test_where_treadle_says_otherwise(both, body, theirs, ours):
    assert [reply.status_code for reply in both("amount", body)] == [theirs, ours]


def test_rows_of_the_table_as_mlflow_answers(both, trained):
    for name in ("amount", "churned"):
        frame = trained.frames[name][list(ROW)].head(200)
        content = json.loads(frame.assign(when=frame["when"].astype(str)).to_json(orient="split"))
        same(*both(name, {"dataframe_split": content}))


def test_csv_takes_times_where_mlflow_takes_none(both):
    theirs, ours = both("amount", "size,serial,member,plan,when\n50,1000000000000,1,plus,2024-01-05T06:00:00\n", CSV)
    assert theirs.status_code == 400
    assert ours.json() == both("amount", {"inputs": [ROW]})[1].json()


def test_csv_with_a_row_longer_than_its_header_is_refused(both):
    """Pandas would take the first value for an index, and answer for other columns than the caller meant."""
    assert both("timeless", f"{HEADER}50.0,1000000000000,1.0,plus,9\n", CSV)[1].status_code == 400


def test_a_version_of_ones_own(trained_client):
    pinned = ask(trained_client, "/v1/models/amount/versions/1/invocations", {"inputs": [ROW]})
    assert pinned.json() == ask(trained_client, "/v1/models/amount/invocations", {"inputs": [ROW]}).json()
    assert pinned.headers["x-model-version"] == "1"
    missing = ask(trained_client, "/v1/models/amount/versions/9/invocations", {"inputs": [ROW]})
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_ledger_has_the_rows_under_the_ids_of_the_header(trained_client):
    reply = ask(trained_client, "/v1/models/churned/invocations", {"inputs": [ROW, GAPS]})
    ids = reply.headers["x-prediction-ids"].split(",")
    labels = {"labels": [{"id": name, "label": "yes"} for name in ids]}
    assert trained_client.post("/v1/models/churned/feedback", json=labels).json() == {"accepted": 2, "repeated": 0}
    stored = [row for row in trained_client.app.state.parts.ledger.window("churned", 1000) if row.id in ids]
    when = {"2024-01-05T06:00:00+00:00": ROW["size"], "2024-01-05T07:00:00+00:00": GAPS["size"]}
    assert {row.features["when"]: row.features["size"] for row in stored} == when


def test_many_rows_bring_their_own_ids_and_times(both, trained_client):
    ids = [f"own-{number}" for number in range(40)]
    body = {"dataframe_records": [ROW] * 40, "params": {"ids": ids, "at": "2024-02-01T00:00:00Z"}}
    theirs, ours = both("amount", body)
    same(theirs, ours)
    assert "x-prediction-ids" not in ours.headers
    labels = {"labels": [{"id": name, "label": 7.5} for name in ids]}
    assert trained_client.post("/v1/models/amount/feedback", json=labels).json()["accepted"] == 40
    again = both("amount", body)[1]
    assert (again.status_code, again.json()["error_code"]) == (409, "RESOURCE_CONFLICT")


@pytest.mark.parametrize("params", [{"ids": ["a"]}, {"ids": "a"}, {"ids": [1, 2]}, {"at": "soon"}, {"at": [1, 2]}])
def test_ids_and_times_that_do_not_fit(trained_client, params):
    reply = ask(trained_client, "/v1/models/amount/invocations", {"inputs": [ROW, ROW], "params": params})
    assert (reply.status_code, reply.json()["error_code"]) == (400, "BAD_REQUEST")


def test_too_many_rows(make_home):
    from serving.app import create_app

    home = make_home(max_rows=3)
    home.register()
    home.promote()
    row = {"temp": 1.0, "holiday": True, "when": "2024-01-05", "season": "summer"}
    with TestClient(create_app(home.settings)) as client:
        reply = ask(client, "/v1/models/toy/invocations", {"inputs": [row] * 4})
        assert (reply.status_code, reply.json()["error_code"]) == (413, "BAD_REQUEST")
        assert ask(client, "/v1/models/toy/invocations", {"inputs": [row] * 3}).status_code == 200
        for body in (split_of(row, 4), {"instances": {name: [value] * 4 for name, value in row.items()}}):
            assert ask(client, "/v1/models/toy/invocations", body).status_code == 413
        lines = ",".join(row) + "\n1,1,2024-01-05,summer" * 4
        assert ask(client, "/v1/models/toy/invocations", lines, CSV).status_code == 413


def split_of(row, rows):
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())] * rows}}


@pytest.mark.parametrize("form", ["dataframe_records", "inputs"])
def test_a_small_body_does_not_become_a_large_table(trained_client, form):
    """Each of thousands of rows with the columns of all others, or thousands of columns of one value, are 32 MB of nothing."""
    strange = {f"k{number}": 1 for number in range(2000)}
    body = {form: [strange, *[{"a": 1}] * 2000] if form == "dataframe_records" else strange | {"size": [1.0] * 2000}}
    model = trained_client.app.state.parts.champions.models["amount"]
    content = sent(body).encode()
    tracemalloc.start()
    with pytest.raises(BadRequest, match="missing"):
        Scoring().read(content, {"content-type": "application/json"}, model, 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_a_long_value_is_not_repeated_in_thousands_of_rows(trained_client):
    body = {"inputs": ROW | {"size": [50.0] * 2000, "plan": "p" * 9000}}
    reply = ask(trained_client, "/v1/models/amount/invocations", body)
    assert (reply.status_code, reply.json()["error_code"]) == (413, "BAD_REQUEST")
    body["inputs"]["plan"] = "plus"
    assert ask(trained_client, "/v1/models/amount/invocations", body).status_code == 200


def test_data_is_not_repeated_in_errors(trained_client):
    for body in ({"inputs": [ROW | {"size": "secret"}]}, {"inputs": "secret"}, '{"inputs": secret'):
        assert "secret" not in ask(trained_client, "/v1/models/amount/invocations", body).text


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", ["amount", "churned"])
def test_as_mlflow_models_serve_answers(trained, serve, model, free_port):
    """The real commands, side by side."""
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", trained.uris[model], "--port", str(free_port), "--workers", "1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"MLFLOW_TRACKING_URI": trained.settings.tracking_uri, "PATH": path}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with serve(trained.settings) as (_, address), httpx.Client(timeout=60) as client:
            theirs_url, ours_url = (
                f"http://127.0.0.1:{free_port}/invocations",
                f"{address}/v1/models/{model}/invocations",
            )
            wait_for(f"http://127.0.0.1:{free_port}/ping")
            for body in GOOD.values():
                same(ask(client, theirs_url, body), ask(client, ours_url, body))
            for body in BAD.values():
                refused(ask(client, theirs_url, body), ask(client, ours_url, body))
            for body, theirs, ours in OTHERWISE.values():
                assert ask(client, theirs_url, body).status_code == theirs
                assert ask(client, ours_url, body).status_code == ours
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def wait_for(url, deadline_s=120):
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    pytest.fail("mlflow models serve did not start")


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
