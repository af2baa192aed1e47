"""More callers than can be served: as many as ever are answered, the others are refused at once, and it passes."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from serving.answering.lane import MOST_ROWS
from serving.door.limits import SMALL_BYTES
from serving.models.champions import Champions
from tests.faults.bystander import Bystander
from tests.faults.installation import MODEL, eventually
from tests.faults.load import Figures, capacity, in_time, measure
from tests.faults.service import Service
from tests.faults.traffic import PREDICT, acknowledged, predicts, repeated
from treadle.ledger import carried_before

BODIES = {"requests of 300 rows": (300,), "requests of 40 rows": (40,)}
"""In a thread of the worker's, and in the quick lane."""
GOODPUT = 0.8
"""Of the peak, at four times as much: what must be answered still."""


def test_what_is_sent_as_small_requests_is_for_the_quick_lane(installation):
    """requests of the fault tests that the quick lane reads"""
    champions = Champions(installation.settings, installation.ledger)
    champions.refresh()
    for number in range(50):
        request, count = predicts((1, 20, 40))(number)
        body = request.partition(b"\r\n\r\n")[2]
        assert len(body) <= SMALL_BYTES
        assert len(champions.get(MODEL).typed.decode(body, MOST_ROWS) or ()) == count


@contextmanager
def apart(service: Service) -> Iterator[None]:
    """The service on one half of the processors, its callers on the other: as on two machines, neither takes the other's."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("there is one processor")
    service.keep_to(processors[: len(processors) // 2])
    os.sched_setaffinity(0, processors[len(processors) // 2 :])
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


PLACES = {"callers on other processors": apart, "callers on the same processors": lambda _: nullcontext()}
"""Where the load comes from; on the same processors its own work is taken from what is answered."""


@pytest.mark.parametrize(
    "place", ["callers on other processors", pytest.param("callers on the same processors", marks=pytest.mark.faults)]
)
@pytest.mark.parametrize(
    "bodies", ["requests of 300 rows", pytest.param("requests of 40 rows", marks=pytest.mark.faults)]
)
def test_overload(installation, row, much, bodies, place):
    """open-loop overload"""
    row.fault = f"overload with {bodies}, {place}"
    seconds, rounds = much(2.0, 8.0), much(1, 5)
    with Service(installation.settings) as service, PLACES[place](service), Watch(service) as watch:
        overload = Overload(service, repeated(predicts(BODIES[bodies])), seconds)
        for number in range(rounds):
            overload.round((1, 2, 4) if number == 0 else (4,))
        begun = time.monotonic()
        eventually(overload.is_over)
        row.note(**overload.figures(), recovered_after_s=time.monotonic() - begun, worst_health_ms=watch.worst_ms)
        missing = installation.missing(overload.acknowledged, deadline_s=120)
    row.note(acknowledged=len(overload.acknowledged), lost=len(missing))
    assert overload.wrong == []
    assert watch.failures == []
    assert missing == set()
    assert row.figures["refused_4x"] > 0
    if rounds > 1 and PLACES[place] is apart:
        assert row.figures["goodput_4x"] >= GOODPUT


class Overload:
    """Rounds of what the service can do at most, and of multiples of it; what is told of several is their median."""

    def __init__(self, service: Service, make, seconds: float) -> None:
        self.acknowledged: set[str] = set()  # ids of the first round
        self.wrong: list[object] = []
        self._service, self._make, self._seconds = service, make, seconds
        self._body = make(0)[0].partition(b"\r\n\r\n")[2]
        self._peaks: list[float] = []
        self._pressed: dict[int, list[dict[str, float]]] = {}
        capacity(service.port, make, seconds=1.0)

    def round(self, factors: tuple[int, ...]) -> None:
        """The peak, and multiples of it in turn; the ledger has caught up before, so that each round begins alike."""
        port, seconds = self._service.port, self._seconds
        eventually(lambda: (carried_before(self._service.settings.journal_dir) or 0.0) < 1.0, deadline_s=120)
        peak = max(capacity(port, self._make, callers=callers, seconds=seconds / 4) for callers in (4, 16))
        for factor in factors:
            self._pressed.setdefault(factor, []).append(self._press(factor, peak))
        self._peaks.append(peak)

    def _press(self, factor: int, peak: float) -> dict[str, float]:
        port, rate = self._service.port, factor * peak
        with Bystander(port, PREDICT, self._body) as bystander:
            figures, outcomes = measure(
                port, self._make, rate=rate, seconds=self._seconds, connections=2_000, deadline_s=60
            )
        self.wrong += [o.reply for o in outcomes if not is_answer(o.reply)]
        if not self._peaks:
            self.acknowledged |= acknowledged(outcomes)
        return {
            "goodput": in_time(outcomes, self._seconds) / peak,
            "refused": refused(figures),
            "refused_p99_ms": figures.refused_p99_ms,
            "good_p99_ms": figures.p99_ms,
            "bystander_refused": len(bystander.refused_ms),
            "bystander_refused_p99_ms": bystander.refused_p99_ms,
        }

    def figures(self) -> dict[str, object]:
        """Medians, and of the goodput the least and the most."""
        said: dict[str, object] = {"rounds": len(self._peaks), "peak": statistics.median(self._peaks)}
        for factor, rounds in self._pressed.items():
            for name in rounds[0]:
                values = [figures[name] for figures in rounds]
                said[f"{name}_{factor}x"] = statistics.median(values)
                if name == "goodput" and len(values) > 1:
                    said[f"goodput_{factor}x_range"] = f"{min(values):.3f}-{max(values):.3f}"
        return said

    def is_over(self) -> bool:
        """Whether a second of moderate load is answered without exception."""
        figures, _ = measure(self._service.port, self._make, rate=self._peaks[-1] / 4, seconds=1.0)
        return figures.good == figures.asked


def is_answer(reply) -> bool:
    """A good answer, or a refusal that says when to come back."""
    return reply.status == 200 or (reply.status in {429, 503} and "retry-after" in reply.headers)


def refused(figures: Figures) -> int:
    """Requests that were refused."""
    return sum(count for status, count in figures.statuses.items() if status in {429, 503})


class Watch:
    """Asks for health, readiness and metrics all the while."""

    def __init__(self, service: Service) -> None:
        self.failures: list[tuple[str, int]] = []
        self.worst_ms = 0.0
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        paths = ("/healthz", "/readyz", "/metrics")
        number = 0
        while not self._stop.wait(0.2):
            path, begun = paths[number % 3], time.monotonic()
            status = self._service.get(path, deadline_s=60).status
            self.worst_ms = max(self.worst_ms, (time.monotonic() - begun) * 1000)
            if status != 200:
                self.failures.append((path, status))
            number += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)
