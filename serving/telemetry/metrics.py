"""What Prometheus is told: is the service up, is it fast, is it right; by model and version.

With several workers each keeps its numbers in files below `PROMETHEUS_MULTIPROC_DIR`, which their parent sets before
they start, and whichever is scraped adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.models.model import ServedModel
from serving.telemetry.standing import Standing

READY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class _Answers(NamedTuple):
    """The counters of one route of one version, looked up once: finding them costs more than counting."""

    requests: Counter
    rows: Counter
    seconds: Histogram


class Metrics:
    """The numbers of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        of_version = ["model", "version"]
        self._requests = self._counter(
            "treadle_requests", "Requests by model, version, route and status", [*of_version, "route", "status"]
        )
        self._rows = self._counter("treadle_rows", "Rows answered", [*of_version, "route"])
        self._seconds = Histogram(
            "treadle_request_seconds", "Time to answer a request, journal included", [*of_version, "route"],
            buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._refused = self._counter("treadle_refused", "Requests refused because too many were under way", [])
        self._under_way = self._gauge(
            "treadle_requests_under_way", "Requests at work, besides small ones", [], "livesum"
        )
        self._lag = self._gauge(
            "treadle_journal_lag_seconds", "Since the journal was last carried whole", [], "livemax"
        )
        self._version = self._gauge("treadle_served_version", "Version that answers", ["model"], "livemax")
        self._served = self._gauge(
            "treadle_served_info", "1 for the version that answers", [*of_version, "digest"], "livemax"
        )
        self._loaded = self._gauge("treadle_loaded_models", "Models in memory", [], "livemax")
        self._degraded = self._gauge("treadle_degraded", "Champions that are not served", [], "livemax")
        self._verdict = self._gauge(
            "treadle_verdict", "1 for the verdict of the last look at a model", ["model", "verdict"], "livemax"
        )
        self._looked = self._gauge(
            "treadle_verdict_timestamp_seconds", "When that was, event time", ["model"], "livemax"
        )
        self._quality = self._gauge(
            "treadle_quality_ratio", "Loss on labelled rows as a share of the normal loss", of_version, "livemax"
        )
        self._coverage = self._gauge(
            "treadle_label_coverage", "Share of the judged rows that have a label", of_version, "livemax"
        )
        self._drifted = self._gauge("treadle_drifted_columns", "Columns that moved", of_version, "livemax")
        of_ready = ["capability", "ready_model"]
        self._ready = self._counter(
            "treadle_ready_requests", "Requests to ready models by capability, model and status", [*of_ready, "status"]
        )
        self._ready_inputs = self._counter("treadle_ready_inputs", "Inputs that ready models answered", of_ready)
        self._ready_cpu = self._counter("treadle_ready_cpu_seconds", "CPU seconds of ready models", of_ready)
        self._ready_seconds = Histogram(
            "treadle_ready_seconds", "Time to answer a request to a ready model, its turn included", of_ready,
            buckets=READY_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._ready_memory = self._gauge(
            "treadle_ready_memory_bytes", "Memory of a ready model's process", ["ready_model"], "livesum"
        )
        self._of = cache(self._find)
        self._set: dict[Gauge, set[tuple[str, ...]]] = {}

    def _counter(self, name: str, what: str, labels: list[str]) -> Counter:
        return Counter(name, what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str, labels: list[str], mode: str) -> Gauge:
        return Gauge(name, what, labels, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _find(self, name: str, version: int, route: str) -> _Answers:
        return _Answers(
            self._requests.labels(name, version, route, 200),
            self._rows.labels(name, version, route),
            self._seconds.labels(name, version, route),
        )

    def answered(self, model: ServedModel, route: str, rows: int, seconds: float) -> None:
        """Count a request that was answered."""
        of = self._of(model.name, model.version, route)
        of.requests.inc()
        of.rows.inc(rows)
        of.seconds.observe(seconds)

    def failed(self, model: ServedModel | None, route: str, status: int) -> None:
        """Count a request that was refused; the names that callers invent are all one label."""
        name, version = ("unknown", "") if model is None else (model.name, model.version)
        self._requests.labels(name, version, route, status).inc()

    def ready_answered(self, capability: str, model: str, inputs: int, seconds: float, cpu_seconds: float) -> None:
        """Count a request that a ready model answered."""
        self._ready.labels(capability, model, 200).inc()
        self._ready_inputs.labels(capability, model).inc(inputs)
        self._ready_cpu.labels(capability, model).inc(cpu_seconds)
        self._ready_seconds.labels(capability, model).observe(seconds)

    def ready_failed(self, capability: str, model: str, status: int) -> None:
        """Count a request to a ready model that got no answer."""
        self._ready.labels(capability, model, status).inc()

    def ready_loaded(self, megabytes: Mapping[str, int]) -> None:
        """Note which ready models are in memory."""
        self._replace(self._ready_memory, {(model,): float(size << 20) for model, size in megabytes.items()})

    def overloaded(self) -> None:
        """Count a request that was refused because too many were under way."""
        self._refused.inc()

    def look(self, models: Mapping[str, ServedModel], degraded: int, under_way: int, lag_s: float | None) -> None:
        """Note what is so at this moment; `lag_s` is `None` when nobody carries the journal."""
        served = models.values()
        self._replace(self._version, {(m.name,): m.version for m in served})
        self._replace(self._served, {(m.name, str(m.version), m.digest[:12]): 1 for m in served})
        self._loaded.set(sum(model.session.is_open for model in served))
        self._degraded.set(degraded)
        self._under_way.set(under_way)
        self._lag.set(-1 if lag_s is None else lag_s)

    def judge(self, standings: list[Standing]) -> None:
        """Note what the last looks at the models found."""
        of = {(s.model, str(s.version)): s for s in standings}
        self._replace(self._verdict, {(s.model, s.verdict): 1 for s in standings})
        self._replace(self._looked, {(s.model,): s.at for s in standings})
        self._replace(self._coverage, {key: s.coverage for key, s in of.items()})
        self._replace(self._drifted, {key: s.drifted for key, s in of.items()})
        self._replace(self._quality, {key: s.quality for key, s in of.items() if s.quality is not None})

    def _replace(self, gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge's values; those that are no more become 0, since a worker's file keeps what it has."""
        for gone in self._set.get(gauge, set()) - set(values):
            gauge.labels(*gone).set(0)
            gauge.remove(*gone)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        self._set[gauge] = set(values)

    def text(self) -> bytes:
        """The exposition, of all workers together."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)
