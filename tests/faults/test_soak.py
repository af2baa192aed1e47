"""Everything at once for a long time (`make soak`): memory, file descriptors and threads stay where they are."""

import itertools
import json
import os
import random
import time

import numpy as np
import pytest

from tests.faults.connection import LOST, http
from tests.faults.hostile import leave
from tests.faults.installation import installation_of
from tests.faults.load import Load
from tests.faults.mutants import mutants
from tests.faults.routes import ROUTES
from tests.faults.service import Service
from tests.faults.traffic import FEEDBACK, acknowledged, predicts

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
EVERY_S = 5.0
RATE = 120.0 if MINUTES >= 10 else 40.0
"""Requests a second. Caches of the database fill for the first 20,000 a worker or so, which is no leak; then memory must stay."""
MOST_MB_AN_HOUR = 20.0
"""A slope that is surely above this is a leak."""


@pytest.mark.timeout(60 * MINUTES + 600)
def test_soak(tmp_path, row):
    """mixed load"""
    seconds = 60 * MINUTES or 8.0
    installation = installation_of(tmp_path)
    make, samples, labels = Mixed(), [], 0
    with Service(installation.settings, TREADLE_WORKERS="2") as service:
        swaps = itertools.count(2)
        with Load(service.port, make, rate=RATE) as load:
            begun, looked = time.monotonic(), 0
            while (now := time.monotonic() - begun) < seconds:
                time.sleep(min(EVERY_S, seconds / 8))
                samples.append((now, *service.footprint().__dict__.values()))
                leave(service.port, make(0)[0][:300], reset=True)
                fresh, looked = load.outcomes[looked:], len(load.outcomes)
                labels += give_labels(service, acknowledged(o for o in fresh if o.asked == "predict"))
                if len(samples) % 6 == 0:
                    version = next(swaps)
                    installation.register(version)
                    installation.promote(version)
        answered = acknowledged(o for o in load.outcomes if o.asked == "predict")
        missing = installation.missing(answered, deadline_s=120)
        log = service.log.read_text(errors="replace")
    wrong = [o.reply for o in load.outcomes if is_wrong(o)]
    figures = load.figures()
    row.note(minutes=seconds / 60, requests=len(load.outcomes), statuses=figures.statuses, labels=labels)
    row.note(refused=sum(map(is_refused, load.outcomes)))
    row.note(p99_ms=figures.p99_ms, lost=len(missing), swaps=next(swaps) - 2)
    table = np.array(samples)
    late = table[table[:, 0] >= table[-1, 0] / 3]
    for column, name in ((1, "rss_mb"), (2, "fds"), (3, "threads")):
        slope, margin = trend(late[:, 0] / 3600, late[:, column])
        row.note(**{f"{name}_first": late[0, column], f"{name}_last": late[-1, column]})
        row.note(**{f"{name}_an_hour": f"{slope:.1f} ± {margin:.1f}"})
    assert wrong == []
    assert missing == set()
    assert "Traceback" not in log
    if MINUTES >= 10:
        slope, margin = trend(late[:, 0] / 3600, late[:, 1])
        assert slope - margin < MOST_MB_AN_HOUR
        assert np.median(late[-20:, 2]) <= np.median(late[:20, 2]) + 10
        assert np.median(late[-20:, 3]) <= np.median(late[:20, 3]) + 4


class Mixed:
    """What real callers send: mostly single rows, some batches, some nonsense, looks at pages and metrics."""

    def __init__(self) -> None:
        self._chance = random.Random(6)
        self._predict = predicts((1, 1, 1, 1, 20, 1, 1, 200, 1, 1, 2000), own_ids=10)
        self._nonsense = itertools.cycle(case.request for case in mutants(ROUTES[:2], 500, seed=9))
        self._pages = ("/metrics", "/openapi.json", "/v1/models", "/", "/docs", "/console.json", "/readyz", "/nowhere")

    def __call__(self, number: int) -> tuple[bytes, str]:
        kind = self._chance.random()
        if kind < 0.8:
            return self._predict(number)[0], "predict"
        if kind < 0.9:
            return next(self._nonsense), "nonsense"
        return http("GET", self._chance.choice(self._pages)), "page"


def give_labels(service: Service, ids: set[str]) -> int:
    """Feedback for some predictions; how many labels were taken."""
    if not ids:
        return 0
    body = {"labels": [{"id": name, "label": 1.5} for name in sorted(ids)[:50]]}
    reply = service.post(FEEDBACK, json.dumps(body).encode())
    assert reply.status == 200, reply.body
    return reply.json()["accepted"]


def is_wrong(outcome) -> bool:
    """Whether a request did not get what it must get; one that was told when to come again, did."""
    if outcome.asked == "predict":
        return outcome.reply.status != 200
    return outcome.reply.status == LOST or (outcome.reply.status >= 500 and not is_refused(outcome))


def is_refused(outcome) -> bool:
    """Whether it was refused for now: so many explanations at once, which take seconds on a busy machine."""
    return outcome.reply.status == 503 and "retry-after" in outcome.reply.headers


def trend(hours, values) -> tuple[float, float]:
    """Slope an hour by least squares, and half of its 95 % interval.

    Samples that follow each other are alike, so that the plain interval would be too narrow: it is widened by the
    residuals' first autocorrelation r, to the interval of n (1 - r) / (1 + r) independent samples.
    """
    design = np.vstack([hours - hours.mean(), np.ones_like(hours)]).T
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    residuals = values - design @ solution
    spread = float(residuals.std(ddof=2)) if len(values) > 2 else float("nan")
    alike = float(np.corrcoef(residuals[:-1], residuals[1:])[0, 1]) if spread > 0 and len(values) > 3 else 0.0
    effective = max(3.0, len(values) * (1 - alike) / (1 + alike)) / len(values)
    width = float(np.sqrt((design[:, 0] ** 2).sum() * effective))
    return float(solution[0]), 1.96 * spread / width if width else float("nan")
