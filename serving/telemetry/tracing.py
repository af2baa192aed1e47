"""Traces by OpenTelemetry, for whoever set `TREADLE_OTEL_ENDPOINT` and installed the extra `telemetry`; else nothing is imported.

Spans are made when a request is over, from the moments that were noted on its way, so tracing holds up no answer. They
name routes by their pattern and hold no value of any row.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from serving.telemetry.logs import Noted
from treadle import __version__
from treadle.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

log = logging.getLogger("treadle.serving")

CONTEXT_HEADERS = ("traceparent", "tracestate")
Marks = Sequence[tuple[str, float]]
"""The parts of a piece of work in order: what each was and when it ended, by `time.perf_counter`."""


def open_tracing(settings: Settings) -> Tracing | None:
    """The traces of this process; `None` when nobody wants them."""
    if settings.otel_endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("TREADLE_OTEL_ENDPOINT is set, but there are no traces: pip install '.[telemetry]'")
        return None
    facts = {"service.name": "treadle", "service.version": __version__, "process.pid": os.getpid()}
    provider = TracerProvider(resource=Resource.create(facts))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otel_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


class Tracing:
    """Makes spans with OpenTelemetry's SDK.

    Args:
        provider: Where they go. It samples as `OTEL_TRACES_SAMPLER` says.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._trace = trace
        self._tracer = provider.get_tracer("treadle.serving", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, request: Noted, headers: Mapping[bytes, bytes], begun: float) -> None:
        """A request of the app that is over, as a part of its caller's trace if it names one (W3C Trace Context)."""
        if request.model is None or request.marks is None:
            return
        carrier = {name: headers.get(name.encode(), b"").decode("latin-1") for name in CONTEXT_HEADERS}
        method, _, route = request.route.partition(" ")
        facts = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": request.status,
            "treadle.request_id": request.request_id,
            **_of_model(request.model, request.version, request.rows),
        }
        parent = self._propagator.extract(carrier)
        end = begun + request.seconds
        self._span(request.route, self._trace.SpanKind.SERVER, facts, (begun, end), request.marks, parent)

    def batch(self, model: str, version: int, rows: Sequence[int], begun: float, marks: Marks) -> None:
        """A batch of the fast lane that was answered.

        Args:
            model: The model's name.
            version: Its version.
            rows: Rows of each request.
            begun: When the first of them arrived, by `time.perf_counter`.
            marks: The parts of the work.
        """
        facts = {"treadle.requests": len(rows), **_of_model(model, version, sum(rows))}
        self._span("batch", self._trace.SpanKind.INTERNAL, facts, (begun, marks[-1][1]), marks, None)

    def _span(
        self,
        name: str,
        kind: SpanKind,
        facts: Mapping[str, str | int],
        when: tuple[float, float],
        marks: Marks,
        parent: Context | None,
    ) -> None:
        offset = time.time_ns() - time.perf_counter_ns()
        begun, end = (offset + int(moment * 1e9) for moment in when)
        span = self._tracer.start_span(name, parent, kind, facts, start_time=begun)
        if span.is_recording():
            inside = self._trace.set_span_in_context(span)
            before = begun
            for part, moment in marks:
                child = self._tracer.start_span(part, inside, start_time=before)
                before = offset + int(moment * 1e9)
                child.end(before)
            if int(facts.get("http.response.status_code", 200)) >= 500:
                span.set_status(self._trace.StatusCode.ERROR)
        span.end(end)

    def close(self) -> None:
        """Send what waits; at most some seconds."""
        self._provider.force_flush(2000)
        self._provider.shutdown()


def _of_model(name: str, version: int | None, rows: int | None) -> dict[str, str | int]:
    known = {"treadle.model": name, "treadle.version": version, "treadle.rows": rows}
    return {key: value for key, value in known.items() if value is not None}
