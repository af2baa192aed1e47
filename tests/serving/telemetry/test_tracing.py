"""Traces: a span a request of the app and a batch of the lane, with their parts, and nothing of a row."""

import gzip
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from serving.app import create_app
from serving.telemetry.logs import MOST_MARKS
from serving.telemetry.tracing import Tracing, open_tracing
from tests.serving.conftest import ROW
from treadle.settings import CHECKOUT, Settings

PREDICT = "/v1/models/toy/predict"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARTS = ["receive", "decode", "infer", "encode", "journal"]


@pytest.fixture
def kept():
    """Spans, once they are over."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(home, kept):
    """A client of the service of `home`, with traces."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    app = create_app(home.settings, tracing=Tracing(provider))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def one(kept: InMemorySpanExporter):
    """The request's span, and its parts in order."""
    spans = kept.get_finished_spans()
    (root,) = [span for span in spans if span.kind is SpanKind.SERVER]
    parts = sorted((span for span in spans if span is not root), key=lambda span: span.start_time)
    assert all(part.parent.span_id == root.context.span_id for part in parts)
    return root, parts


@pytest.mark.parametrize("rows", [1, 300])
def test_a_request_is_a_span_with_its_parts_in_order(traced, kept, rows):
    reply = traced.post(PREDICT, json={"rows": [ROW] * rows})
    root, parts = one(kept)
    assert root.name == "POST /v1/models/{project}/predict"
    assert dict(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/models/{project}/predict",
        "http.response.status_code": 200,
        "treadle.request_id": reply.headers["x-request-id"],
        "treadle.model": "toy",
        "treadle.version": 1,
        "treadle.rows": rows,
    }
    assert [part.name for part in parts] == PARTS
    moments = [moment for part in parts for moment in (part.start_time, part.end_time)]
    assert [root.start_time, *moments, root.end_time] == sorted([root.start_time, *moments, root.end_time])
    assert root.parent is None


def test_the_open_inference_protocol_has_the_same_parts(traced, kept):
    inputs = [{"name": "temp", "shape": [1], "datatype": "FP64", "data": [3.5]},
              {"name": "holiday", "shape": [1], "datatype": "BOOL", "data": [False]},
              {"name": "when", "shape": [1], "datatype": "BYTES", "data": ["2011-01-01T05:00:00"]},
              {"name": "season", "shape": [1], "datatype": "BYTES", "data": ["summer"]}]  # fmt: skip
    reply = traced.post("/v2/models/toy/infer", json={"inputs": inputs})
    assert reply.status_code == 200, reply.text
    root, parts = one(kept)
    assert root.name == "POST /v2/models/{project}/infer"
    assert [part.name for part in parts] == PARTS


@pytest.mark.parametrize("batches", [1, 200])
def test_an_answer_batch_by_batch_has_its_parts_but_no_end_of_them(traced, kept, batches):
    times = pa.array([datetime(2011, 1, 1, 5, tzinfo=UTC)] * 2)
    columns = {"temp": [3.5, 4.0], "holiday": [False, True], "when": times, "season": ["summer", "winter"]}
    batch, sink = pa.RecordBatch.from_pydict(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        for _ in range(batches):
            stream.write_batch(batch)
    content, headers = sink.getvalue().to_pybytes(), {"content-type": "application/vnd.apache.arrow.stream"}
    reply = traced.post(PREDICT, content=content, headers=headers)
    assert reply.status_code == 200, reply.text
    root, parts = one(kept)
    assert root.attributes["treadle.rows"] == 2 * batches
    names = [part.name for part in parts]
    assert names == ["receive", "decode", *["infer", "journal"] * ((len(names) - 2) // 2)]
    assert 4 <= len(names) <= MOST_MARKS


def test_an_explained_answer_has_a_part_for_it(traced, kept):
    assert traced.post(f"{PREDICT}?explain=true", json={"rows": [ROW]}).status_code == 200
    _, parts = one(kept)
    assert [part.name for part in parts] == ["receive", "decode", "infer", "explain", "encode", "journal"]


def test_a_callers_trace_goes_on_here(traced, kept):
    traced.post(PREDICT, json={"rows": [ROW]}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    root, _ = one(kept)
    assert f"{root.context.trace_id:032x}" == TRACE
    assert f"{root.parent.span_id:016x}" == PARENT


@pytest.mark.parametrize("header", ["", "00-xyz", "\xff" * 200, f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}"])
def test_a_trace_that_is_none_begins_a_new_one(traced, kept, header):
    raw = [(b"traceparent", header.encode("latin-1")), (b"tracestate", b"=,=\xff,,")]
    assert traced.post(PREDICT, json={"rows": [ROW]}, headers=raw).status_code == 200
    root, _ = one(kept)
    assert root.parent is None


def test_a_caller_may_say_that_a_request_is_not_traced(traced, kept):
    traced.post(PREDICT, json={"rows": [ROW]}, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert kept.get_finished_spans() == ()


def test_a_refused_body_ends_where_it_was_refused_and_repeats_nothing(traced, kept):
    assert traced.post(PREDICT, json={"rows": [ROW | {"temp": "secret"}]}).status_code == 422
    root, parts = one(kept)
    assert [part.name for part in parts] == ["receive"]
    assert root.attributes["http.response.status_code"] == 422
    assert root.status.status_code is StatusCode.UNSET
    assert "secret" not in "".join(span.to_json() for span in kept.get_finished_spans())


def test_a_failure_is_an_error_of_its_span(traced, kept):
    traced.app.state.parts.ledger.engine.dispose()
    with traced.app.state.parts.ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE predictions")
    assert traced.post(PREDICT, json={"rows": [ROW], "ids": ["mine"]}).status_code == 503
    root, _ = one(kept)
    assert root.status.status_code is StatusCode.ERROR


def test_other_routes_and_models_that_are_not_there_have_no_span(traced, kept):
    traced.get("/healthz")
    traced.get("/v1/models/toy")
    assert traced.post("/v1/models/invented/predict", json={"rows": [ROW]}).status_code == 404
    assert kept.get_finished_spans() == ()


def test_without_an_endpoint_nothing_is_imported():
    assert open_tracing(Settings()) is None
    code = (
        "import sys, serving.worker; from serving.app import create_app; from treadle.settings import Settings; "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_without_the_extra_the_service_goes_on(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert open_tracing(Settings(otel_endpoint="http://127.0.0.1:1")) is None
    assert "pip install '.[telemetry]'" in caplog.text


@pytest.fixture
def collector():
    """A collector that speaks OTLP over HTTP: its address, and the spans that it got."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    server.server_close()


@pytest.mark.e2e
def test_a_real_service_sends_the_batches_of_its_lane_to_a_collector(home, serve, collector):
    endpoint, spans = collector
    with serve(home.settings, TREADLE_OTEL_ENDPOINT=f"{endpoint}/") as (process, address):
        with httpx.Client(base_url=address) as client:
            for _ in range(3):  # the first makes the Host known, the others are the lane's
                assert client.post(PREDICT, json={"rows": [ROW, ROW]}).status_code == 200
        process.terminate()
        assert process.wait(30) == 0
    batches = [span for span in spans if span.name == "batch"]
    assert len(batches) >= 2
    for batch in batches:
        facts = {fact.key: fact.value for fact in batch.attributes}
        assert facts["treadle.model"].string_value == "toy"
        assert (facts["treadle.rows"].int_value, facts["treadle.requests"].int_value) == (2, 1)
        parts = [span for span in spans if span.parent_span_id == batch.span_id]
        assert [part.name for part in parts] == ["decode", "infer", "journal"]
        assert parts[0].start_time_unix_nano == batch.start_time_unix_nano
        assert parts[-1].end_time_unix_nano == batch.end_time_unix_nano
    assert {span.name for span in spans if not span.parent_span_id} <= {"batch", "POST /v1/models/{project}/predict"}


@pytest.mark.e2e
def test_a_collector_that_is_away_holds_up_nobody(home, serve):
    with serve(home.settings, TREADLE_OTEL_ENDPOINT="http://127.0.0.1:1") as (process, address):
        assert httpx.post(f"{address}{PREDICT}", json={"rows": [ROW]}).status_code == 200
        process.terminate()
        assert process.wait(18) == 0
