import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.ledger import Drain, QualityRows, VerdictRow

ROW = {"temp": 3.5, "holiday": False, "when": "2011-01-01T05:00:00", "season": "summer"}
PREDICT, FEEDBACK = "/v1/models/toy/predict", "/v1/models/toy/feedback"
SECRET = "canary-7f3a"
PROBLEM_KEYS = {"type", "title", "status", "detail", "instance"}


def problem_of(reply, status: int) -> dict:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert body.keys() >= PROBLEM_KEYS
    assert body["status"] == status
    return body


def test_a_row_is_answered_and_is_in_the_ledger(client, home, eventually):
    reply = client.post(PREDICT, json={"rows": [ROW], "at": "2011-04-01T05:00:00Z"}).json()
    assert (reply["model"], reply["version"]) == ("toy", 1)
    assert reply["digest"] == home.ledger.version("toy", 1).digest
    (prediction,) = reply["predictions"]
    assert prediction["prediction"] == pytest.approx(1013.5)
    eventually(lambda: home.ledger.window("toy", 10))
    (row,) = home.ledger.window("toy", 10)
    assert (row.id, row.version, row.features) == (prediction["id"], 1, ROW)
    assert row.at == datetime(2011, 4, 1, 5, tzinfo=UTC)
    assert row.answer == {"prediction": prediction["prediction"]}


def test_a_large_request_is_answered_in_order(client, home):
    rows = [ROW | {"temp": float(n)} for n in range(1000)]
    reply = client.post(PREDICT, json={"rows": rows, "ids": [f"r{n}" for n in range(1000)]}).json()
    assert [p["id"] for p in reply["predictions"]] == [f"r{n}" for n in range(1000)]
    assert [p["prediction"] for p in reply["predictions"]] == pytest.approx([1010.0 + n for n in range(1000)])
    assert len(home.ledger.window("toy", 2000)) == 1000


def test_a_classifier_gives_its_probabilities(make_home):
    home = make_home()
    home.register("sorted", classes=True)
    home.promote("sorted")
    with TestClient(create_app(home.settings)) as client:
        (answer,) = client.post("/v1/models/sorted/predict", json={"rows": [ROW]}).json()["predictions"]
        assert answer["prediction"] == "high"
        assert set(answer["probabilities"]) == {"high", "low"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        feedback = "/v1/models/sorted/feedback"
        wrong = client.post(feedback, json={"labels": [{"id": answer["id"], "label": SECRET}]})
        assert problem_of(wrong, 422)["column"] == "bikers"
        assert SECRET not in wrong.text
        assert client.post(feedback, json={"labels": [{"id": answer["id"], "label": "low"}]}).json()["accepted"] == 1


def test_an_id_is_answered_once(client):
    body = {"rows": [ROW], "ids": ["once"]}
    assert client.post(PREDICT, json=body).status_code == 200
    problem_of(client.post(PREDICT, json=body), 409)


def test_feedback_is_idempotent_and_all_or_nothing(client, home):
    ids = [p["id"] for p in client.post(PREDICT, json={"rows": [ROW, ROW]}).json()["predictions"]]
    label = {"id": ids[0], "label": 12, "at": "2011-04-08T00:00:00Z"}
    assert client.post(FEEDBACK, json={"labels": [label]}).json() == {"accepted": 1, "repeated": 0}
    assert client.post(FEEDBACK, json={"labels": [label]}).json() == {"accepted": 0, "repeated": 1}
    clash = problem_of(client.post(FEEDBACK, json={"labels": [label | {"label": 13}]}), 409)["detail"]
    assert clash.startswith("Label 0 differs")
    assert ids[0] not in clash
    other = {"id": ids[1], "label": 5}
    unknown = problem_of(client.post(FEEDBACK, json={"labels": [other, {"id": "nobody", "label": 5}]}), 404)["detail"]
    assert unknown.startswith("Label 1 names no prediction")
    assert "nobody" not in unknown
    assert client.post(FEEDBACK, json={"labels": [other]}).json() == {"accepted": 1, "repeated": 0}
    assert len(home.ledger.labelled("toy")) == 2


def test_a_label_may_come_before_its_prediction_if_its_sender_says_so(client, home):
    label = {"id": "own-7", "label": 5, "at": "2011-04-08T00:00:00Z"}
    problem_of(client.post(FEEDBACK, json={"labels": [label]}), 404)
    early = {"labels": [label], "keep_early": True}
    assert client.post(FEEDBACK, json=early).json() == {"accepted": 0, "repeated": 0, "early": 1}
    assert client.post(FEEDBACK, json=early).json() == {"accepted": 0, "repeated": 1}
    assert client.post(PREDICT, json={"rows": [ROW], "ids": ["own-7"]}).status_code == 200
    assert [(row.id, row.label) for row in home.ledger.labelled("toy")] == [("own-7", 5.0)]


def test_a_label_dated_ahead_is_said_to_be(client):
    (answer,) = client.post(PREDICT, json={"rows": [ROW]}).json()["predictions"]
    ahead = {"id": answer["id"], "label": 5, "at": (datetime.now(UTC) + timedelta(days=2)).isoformat()}
    assert client.post(FEEDBACK, json={"labels": [ahead]}).json() == {"accepted": 1, "repeated": 0, "ahead": 1}


def test_a_label_is_kept_though_its_prediction_is_still_in_the_journal(home, monkeypatch):
    """The drain stands still for longer than a label waits; what it carries later has its label at once."""
    monkeypatch.setattr("serving.answering.predict.JOURNAL_DEADLINE_S", 0.1)
    with TestClient(create_app(home.settings, drains=False)) as client:
        (answer,) = client.post(PREDICT, json={"rows": [ROW]}).json()["predictions"]
        invented = {"id": answer["id"][:-4] + "0000", "label": 5}
        problem_of(client.post(FEEDBACK, json={"labels": [invented]}), 404)
        label = {"id": answer["id"], "label": 5}
        assert client.post(FEEDBACK, json={"labels": [label]}).json() == {"accepted": 0, "repeated": 0, "early": 1}
        Drain(home.settings.journal_dir, lambda: home.ledger).once()
        assert client.post(FEEDBACK, json={"labels": [label]}).json() == {"accepted": 0, "repeated": 1}
    assert [row.label for row in home.ledger.labelled("toy")] == [5.0]


def value(column: str, literal: str) -> bytes:
    """A body whose one row has a JSON literal in a column."""
    return json.dumps({"rows": [ROW | {column: "@"}]}).replace('"@"', literal).encode()


BROKEN = {
    "nothing": (b"", 400),
    "not JSON": (b"rows", 400),
    "a list": (b"[]", 422),
    "a number": (b"7", 422),
    "null": (b"null", 422),
    "no rows": (b"{}", 422),
    "empty rows": (b'{"rows": []}', 422),
    "rows is text": (b'{"rows": "canary-7f3a"}', 422),
    "a row is a list": (b'{"rows": [[1, 2]]}', 422),
    "an empty row": (b'{"rows": [{}]}', 422),
    "unknown key": (b'{"rows": [{}], "canary-7f3a-canary-7f3a-canary-7f3a-canary-7f3a": 1}', 422),
    "NaN": (value("temp", "NaN"), 400),
    "Infinity": (value("temp", "-Infinity"), 400),
    "1e999": (value("temp", "1e999"), 422),
    "a number that the model cannot take": (value("temp", "1e300"), 422),
    "a million digits": (value("temp", "9" * 1_000_000), 422),
    "a hundred digits": (value("temp", "9" * 400), 422),
    "text for a number": (value("temp", '"canary-7f3a"'), 422),
    "truth for a number": (value("temp", "true"), 422),
    "nested": (value("temp", '{"canary-7f3a": 1}'), 422),
    "deep": (value("temp", "[" * 100_000 + "]" * 100_000), 400),
    "deep and open": (b'{"rows":' + b"[" * 1_000_000, 422),
    "UTF-16": (json.dumps({"rows": [ROW]}).encode("utf-16"), 400),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + json.dumps({"rows": [ROW]}).encode(), 400),
    "invalid UTF-8": (value("season", '"') [:-3] + b'\xff"}]}', 400),
    "lone surrogate": (value("season", '"\\ud800"'), 400),
    "low surrogate": (value("season", '"canary-7f3a\\udc00"'), 400),
    "encoded surrogate": (value("season", '"@"').replace(b"@", b"\xed\xa0\x80"), 400),
    "column twice": (value("temp", '1, "temp": 2'), 400),
    "no such time": (value("when", '"2011-13-01"'), 422),
    "too few ids": (json.dumps({"rows": [ROW, ROW], "ids": ["a"]}).encode(), 422),
    "one id twice": (json.dumps({"rows": [ROW, ROW], "ids": ["a", "a"]}).encode(), 422),
    "unprintable id": (json.dumps({"rows": [ROW], "ids": ["a\u0000"]}).encode(), 422),
    "long id": (json.dumps({"rows": [ROW], "ids": ["a" * 129]}).encode(), 422),
    "bad event time": (json.dumps({"rows": [ROW], "at": "canary-7f3a"}).encode(), 422),
    "event time of another kind": (json.dumps({"rows": [ROW], "at": 7}).encode(), 422),
    "too few event times": (json.dumps({"rows": [ROW, ROW], "at": ["2011-01-01"]}).encode(), 422),
    "gzip": (b"\x1f\x8b\x08\x00canary-7f3a", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_a_problem_that_repeats_nothing(client, home, name):
    body, status = BROKEN[name]
    reply = client.post(PREDICT, content=body)
    problem_of(reply, status)
    assert SECRET not in reply.text
    assert len(reply.content) < 2000
    assert home.ledger.window("toy", 10) == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'{"labels": []}', b'{"labels": [{"id": "a"}]}', b'{"labels": [{"id": 1, "label": 1}]}',
        b'{"labels": [{"id": "a", "label": "canary-7f3a"}]}', b'{"labels": [{"id": "a", "label": true}]}',
        b'{"labels": [{"id": "a", "label": NaN}]}', b'{"labels": [{"id": "a", "label": 1, "at": "canary-7f3a"}]}',
        b'{"labels": [{"id": "a", "id": "b", "label": 1}]}', b'{"labels": [{"id": "a", "label": 1, "canary-7f3a": 1}]}',
        json.dumps({"labels": [{"id": SECRET * 1000, "label": 1}]}).encode(),
    ],
)  # fmt: skip
def test_broken_feedback_is_a_problem(client, body):
    reply = client.post(FEEDBACK, content=body)
    problem_of(reply, reply.status_code)
    assert 400 <= reply.status_code < 500
    assert len(reply.content) < 1000
    assert SECRET not in reply.text or b'"canary-7f3a": 1' in body  # the name of an unknown field may be told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(list(ROW)), inner)
    ),
    max_leaves=8,
)
bodies = st.binary(max_size=60) | st.builds(lambda v: json.dumps(v).encode(), json_values) | st.builds(
    lambda change, more: json.dumps({"rows": [ROW | change], **more}).encode(),
    st.dictionaries(st.sampled_from(list(ROW)), json_values, max_size=3),
    st.dictionaries(st.sampled_from(["ids", "at", "rows", "x"]), json_values, max_size=2),
)  # fmt: skip


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, route=st.sampled_from([PREDICT, FEEDBACK]))
def test_no_body_whatever_makes_the_service_fail(client, body, route):
    reply = client.post(route, content=body)
    assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text
    assert len(reply.content) < 2000
    if reply.status_code != 200:
        problem_of(reply, reply.status_code)


def test_too_many_rows_and_too_many_bytes_are_413(make_home):
    home = make_home(max_rows=3, max_body_bytes=2000)
    home.register()
    home.promote()
    with TestClient(create_app(home.settings)) as client:
        assert client.post(PREDICT, json={"rows": [ROW] * 3}).status_code == 200
        problem_of(client.post(PREDICT, json={"rows": [ROW] * 4}), 413)
        problem_of(client.post(PREDICT, content=b" " * 2001), 413)
        problem_of(client.post(PREDICT, content=iter([b" " * 500] * 5)), 413)


@pytest.mark.parametrize("name", ["tyo", "..%2f..%2fetc", "%ff%fe", "a" * 5000, "%00", "<script>", "%ed%a0%80"])
def test_a_model_that_is_not_there_is_404(client, name):
    body = problem_of(client.post(f"/v1/models/{name}/predict", json={"rows": [ROW]}), 404)
    assert len(body["detail"]) < 300
    assert len(body["instance"]) <= 200
    problem_of(client.get(f"/v1/models/{name}"), 404)


def test_unknown_routes_and_methods_are_problems(client):
    problem_of(client.get("/nowhere"), 404)
    reply = client.get(PREDICT)
    problem_of(reply, 405)
    assert "POST" in reply.headers["allow"]
    problem_of(client.get("/reports/..%2f..%2fledger.db"), 404)


def test_a_locked_ledger_holds_up_nobody_but_those_with_ids_of_their_own(home, eventually):
    app = create_app(home.settings)
    app.state.parts.writer._deadline_s = 0.5
    with TestClient(app) as client:
        holder = sqlite3.connect(home.settings.state_dir / "ledger.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        answered = [client.post(PREDICT, json={"rows": [ROW]}).json()["predictions"][0]["id"] for _ in range(4)]
        refused = client.post(PREDICT, json={"rows": [ROW], "ids": ["mine"]})
        assert client.get("/healthz").status_code == 200
        holder.execute("ROLLBACK")
        holder.close()
        problem_of(refused, 503)
        assert refused.headers["retry-after"] == "1"
        eventually(lambda: {row.id for row in home.ledger.window("toy", 10)} >= set(answered))


def test_a_label_may_follow_its_prediction_at_once(client, home):
    name = client.post(PREDICT, json={"rows": [ROW]}).json()["predictions"][0]["id"]
    reply = client.post("/v1/models/toy/feedback", json={"labels": [{"id": name, "label": 3.5}]})
    assert reply.json() == {"accepted": 1, "repeated": 0}


def test_a_full_ledger_is_503_for_ids_of_ones_own(client, home):
    with home.ledger.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    engine = client.app.state.parts.ledger.engine
    engine.dispose()
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def cap(connection, _record):
        connection.execute(f"PRAGMA max_page_count={pages}")

    bodies = [{"rows": [ROW] * 500, "ids": [f"{turn}-{n}" for n in range(500)]} for turn in range(6)]
    statuses = [client.post(PREDICT, json=body).status_code for body in bodies]
    assert statuses[-1] == 503
    assert set(statuses) <= {200, 503}


def test_models_health_and_metrics(client):
    (listed,) = client.get("/v1/models").json()
    assert (listed["name"], listed["version"], listed["champion"], listed["degraded"]) == ("toy", 1, 1, None)
    one = client.get("/v1/models/toy").json()
    assert one["digest"] == listed["digest"]
    assert [column["name"] for column in one["columns"]] == list(ROW)
    assert client.post(PREDICT, json=one["example"]).status_code == 200
    client.post(PREDICT, content=b"")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "models": ["toy"], "degraded": {}}
    metrics = client.get("/metrics").text
    assert 'treadle_requests_total{model="toy",route="predict",status="200",version="1"} 1.0' in metrics
    assert 'treadle_requests_total{model="toy",route="predict",status="400",version="1"} 1.0' in metrics
    assert 'treadle_rows_total{model="toy",route="predict",version="1"} 1.0' in metrics
    assert 'treadle_request_seconds_count{model="toy",route="predict",version="1"} 1.0' in metrics
    assert 'treadle_served_version{model="toy"} 1.0' in metrics


def test_the_api_is_described_with_an_example_that_works(client):
    document = client.get("/openapi.json").json()
    operation = document["paths"][PREDICT]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert list(content["schema"]["properties"]["rows"]["items"]["properties"]) == list(ROW)
    assert client.post(PREDICT, json=content["example"]).status_code == 200
    assert "/v1/models/{name}/predict" in document["paths"]
    assert FEEDBACK in document["paths"]


PAGES = ["page.js", "api.js", "page.css", "recorder.js"]
PLAYGROUND = ["playground.js", "playground_input.js", "playground_answer.js", "playground.css"]


@pytest.mark.parametrize("address", ["/", "/docs", "/playground", *(f"/page/{name}" for name in PAGES + PLAYGROUND)])
def test_the_pages_need_nothing_from_elsewhere(client, address):
    reply = client.get(address)
    assert reply.status_code == 200
    assert "http://" not in reply.text
    assert "https://" not in reply.text
    assert "innerHTML" not in reply.text
    assert reply.headers["content-security-policy"].startswith("default-src 'self'")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_console_shows_the_last_verdict_with_its_report(client, home):
    report = home.settings.reports_dir / "toy" / "drift 1.html"
    report.parent.mkdir(parents=True)
    report.write_text("<script>alert(1)</script>")
    at = datetime(2011, 4, 15, tzinfo=UTC)
    home.ledger.record_verdict("toy", VerdictRow(1, "drift", "temp moved", 336, 168, {}, str(report), at))
    home.ledger.record_decision("toy", "retrain", "drift", {}, at)
    data = client.get("/console.json").json()
    (model,) = data["models"]
    assert model["verdict"]["verdict"] == "drift"
    assert model["decisions"] == [{"kind": "retrain", "reason": "drift", "at": at.isoformat(), "times": 1}]
    assert data["links"].keys() == {"prefect", "mlflow", "api"}
    shown = client.get(model["verdict"]["report"])
    assert shown.status_code == 200
    assert shown.headers["content-security-policy"].startswith("sandbox")


def test_the_console_says_what_is_known_of_quality_and_what_is_not(client, home):
    (model,) = client.get("/console.json").json()["models"]
    assert model["quality"] is None
    window = {"from": "2011-04-04T00:00:00+00:00", "to": "2011-04-11T00:00:00+00:00", "answered": 168, "labelled": 0,
              "coverage": 0.0, "metric": None, "estimate": 31.0, "low": 27.0, "high": 35.0}  # fmt: skip
    said = {
        "coverage": {"answered": 168, "labelled": 0, "share": 0.0, "early": 0, "expired": 0},
        "windows": [window],
        "estimate": None,
        "impact": {"harm": None, "check": None, "columns": [], "reason": "Not known."},
    }
    QualityRows(home.ledger).record_look("toy", 1, said, datetime(2011, 4, 15, tzinfo=UTC))
    (model,) = client.get("/console.json").json()["models"]
    assert model["quality"]["windows"] == [window]
    assert model["quality"]["said"][0] == "Labels have come for 0 of 168 predictions (0%)."
    assert client.get("/v1/models/toy").json()["quality"]["impact"]["harm"] is None


def test_an_installation_without_models_says_what_to_do(make_home):
    with TestClient(create_app(make_home().settings)) as client:
        assert client.get("/v1/models").json() == []
        assert client.get("/readyz").status_code == 200
        detail = problem_of(client.post(PREDICT, json={"rows": [ROW]}), 404)["detail"]
        assert "treadle train toy" in detail
        assert "/v1/models/{name}/predict" in client.get("/openapi.json").json()["paths"]


def test_nan_a_wrong_method_and_a_wrong_address_say_the_way_out(client):
    body = b'{"rows": [{"temp": NaN, "holiday": true, "when": null, "season": "summer"}]}'
    nan = client.post("/v1/models/toy/predict", content=body)
    assert (nan.status_code, "send null" in nan.json()["detail"]) == (400, True)
    method = client.get("/v1/models/toy/predict")
    assert (method.status_code, method.json()["detail"]) == (405, "This address answers POST.")
    nowhere = client.get("/v1/modells")
    assert (nowhere.status_code, "/docs" in nowhere.json()["detail"]) == (404, True)
