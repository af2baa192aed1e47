"""Service telemetry for Prometheus: is it up, is it fast, which version answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """The gauges of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "treadle_requests", "Requests by model, version, route and status", ["model", "version", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.rows = Counter("treadle_rows", "Rows answered", ["model", "version"], registry=self.registry)
        self.seconds = Histogram(
            "treadle_predict_seconds", "Time to answer a predict request, ledger commit included", ["model"],
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.version = Gauge("treadle_served_version", "Version that answers", ["model"], registry=self.registry)
        self.degraded = Gauge("treadle_degraded", "Champions that are not served", registry=self.registry)
