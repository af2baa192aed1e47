"""Service telemetry for Prometheus: is it up, is it fast, which version answers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.model import ServedModel

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """The gauges of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "treadle_requests", "Requests by model, version, route and status", ["model", "version", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._rows = Counter("treadle_rows", "Rows answered", ["model", "version"], registry=self.registry)
        self._seconds = Histogram(
            "treadle_predict_seconds", "Time to answer a predict request, ledger commit included", ["model", "version"],
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._version = Gauge("treadle_served_version", "Version that answers", ["model"], registry=self.registry)
        self._degraded = Gauge("treadle_degraded", "Champions that are not served", registry=self.registry)

    def answered(self, model: ServedModel, route: str, rows: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(model.name, model.version, route, 200).inc()
        if route == "predict":
            self._rows.labels(model.name, model.version).inc(rows)
            self._seconds.labels(model.name, model.version).observe(seconds)

    def failed(self, model: ServedModel | None, route: str, status: int) -> None:
        """Count a request that was refused; the names that callers invent are all one label."""
        name, version = ("unknown", "") if model is None else (model.name, model.version)
        self._requests.labels(name, version, route, status).inc()

    def text(self, models: Mapping[str, ServedModel], degraded: int) -> bytes:
        """The exposition, with what is served at this moment."""
        self._version.clear()
        for name, model in models.items():
            self._version.labels(name).set(model.version)
        self._degraded.set(degraded)
        return generate_latest(self.registry)
