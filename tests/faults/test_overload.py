"""More callers than can be served: as many as ever are answered, the others are refused at once, and it passes."""

import threading
import time

import pytest

from serving.answering.lane import MOST_ROWS
from serving.door.limits import SMALL_BYTES
from serving.models.champions import Champions
from tests.faults.bystander import Bystander
from tests.faults.client import Figures, capacity, measure
from tests.faults.installation import MODEL, eventually
from tests.faults.service import Service
from tests.faults.traffic import acknowledged, predicts, repeated

BODIES = {"requests of 300 rows": (300,), "requests of 40 rows": (40,)}
"""In a thread of the worker's, and in the quick lane."""


def test_what_is_sent_as_small_requests_is_for_the_quick_lane(installation):
    """requests of the fault tests that the quick lane reads"""
    champions = Champions(installation.settings, installation.ledger)
    champions.refresh()
    for number in range(50):
        request, count = predicts((1, 20, 40))(number)
        body = request.partition(b"\r\n\r\n")[2]
        assert len(body) <= SMALL_BYTES
        assert len(champions.get(MODEL).typed.decode(body, MOST_ROWS) or ()) == count


@pytest.mark.parametrize(
    "bodies", ["requests of 300 rows", pytest.param("requests of 40 rows", marks=pytest.mark.faults)]
)
def test_overload(installation, row, much, bodies):
    """open-loop overload"""
    row.fault = f"overload with {bodies}"
    seconds = much(2.0, 10.0)
    make = repeated(predicts(BODIES[bodies]))
    with Service(installation.settings) as service:
        capacity(service.port, make, seconds=1.0)
        peak = max(capacity(service.port, make, callers=callers, seconds=seconds / 2) for callers in (4, 16))
        row.note(peak=peak)
        answered, goodput, wrong = set(), {}, []
        with Watch(service) as watch:
            for factor in (1, 2, 4):
                with Bystander(service.port, make(0)[0].partition(b"\r\n\r\n")[2]) as bystander:
                    figures, outcomes = measure(
                        service.port, make, rate=factor * peak, seconds=seconds, connections=2_000, deadline_s=60
                    )
                goodput[factor] = in_time(outcomes, seconds) / peak
                answered |= acknowledged(outcomes)
                wrong += [o.reply for o in outcomes if not is_answer(o.reply)]
                row.note(**{f"goodput_{factor}x": goodput[factor], f"refused_{factor}x": refused(figures)})
                row.note(
                    **{f"refused_p99_ms_{factor}x": figures.refused_p99_ms, f"good_p99_ms_{factor}x": figures.p99_ms}
                )
                row.note(**{f"bystander_refused_{factor}x": len(bystander.refused_ms)})
                row.note(**{f"bystander_refused_p99_ms_{factor}x": bystander.refused_p99_ms})
            begun = time.monotonic()
            eventually(lambda: is_well(service.port, make, peak / 4))
        row.note(recovered_after_s=time.monotonic() - begun, worst_health_ms=watch.worst_ms)
        missing = installation.missing(answered, deadline_s=120)
    row.note(acknowledged=len(answered), lost=len(missing))
    assert wrong == []
    assert watch.failures == []
    assert missing == set()
    assert row.figures["refused_4x"] > 0
    if seconds >= 10:
        assert min(goodput[2], goodput[4]) >= 0.8 * min(1.0, goodput[1])


def in_time(outcomes, seconds: float) -> float:
    """Good answers a second, counted while requests arrived."""
    return sum(o.reply.status == 200 and o.done <= seconds for o in outcomes) / seconds


def is_answer(reply) -> bool:
    """A good answer, or a refusal that says when to come back."""
    return reply.status == 200 or (reply.status in {429, 503} and "retry-after" in reply.headers)


def refused(figures: Figures) -> int:
    """Requests that were refused."""
    return sum(count for status, count in figures.statuses.items() if status in {429, 503})


def is_well(port: int, make, rate: float) -> bool:
    """Whether a second of moderate load is answered without exception."""
    figures, _ = measure(port, make, rate=rate, seconds=1.0)
    return figures.good == figures.asked


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
