"""Hostile callers: slow, silent, endless or gone. Good callers notice nothing, and nothing of them stays behind."""

import json
import time

import pytest

from tests.faults.connection import http
from tests.faults.hostile import HEAD, Siege, leave, pour, silent, slow_body, slow_chunks, slow_headers, slow_reader
from tests.faults.installation import eventually, installation_of, rows
from tests.faults.load import Figures, Load
from tests.faults.service import Service
from tests.faults.traffic import PREDICT, acknowledged, predicts

RATE = 60.0
IMPATIENT = {"TREADLE_HEADERS_S": "3", "TREADLE_MESSAGE_S": "6"}


def test_slow_callers(installation, row, much):
    """slow, silent and half-said connections beside good callers"""
    count = much(60, 200)
    deadlines = much(IMPATIENT, {})
    with Service(installation.settings, **deadlines) as service:
        settled = service.footprint()
        with Load(service.port, predicts((1, 20)), rate=RATE) as load:
            time.sleep(much(2, 10))
            besieged = load.now()
            with Siege(service.port, count) as siege:
                time.sleep(much(4, 60))
                relieved = load.now()
                assert service.get("/healthz").status == 200
                assert service.get("/metrics").status == 200
                awaited = much(count * 5 // 6, count)  # readers have half a minute, which the short slice does not
                eventually(lambda: siege.ended >= awaited, deadline_s=180)
                ended = siege.ended
        eventually(lambda: service.footprint().fds <= settled.fds + 10, deadline_s=120)
        after = service.footprint()
        missing = installation.missing(acknowledged(load.outcomes))
    before = Figures.of([o for o in load.outcomes if o.due < besieged], besieged)
    during = Figures.of([o for o in load.outcomes if besieged <= o.due < relieved], relieved - besieged)
    bad = [o.reply for o in load.outcomes if o.reply.status != 200]
    row.tried, row.survived = count, count if not bad else 0
    row.note(requests=len(load.outcomes), failed=len(bad), p99_ms_before=before.p99_ms, p99_ms_during=during.p99_ms)
    row.note(ended_by_the_service=ended, fds_more=after.fds - settled.fds, rss_more_mb=after.rss_mb - settled.rss_mb)
    assert bad == []
    assert missing == set()


@pytest.mark.faults
@pytest.mark.parametrize(
    "kind", [slow_headers, slow_body, slow_chunks, silent, slow_reader], ids=lambda kind: kind.__name__
)
def test_a_slow_caller_is_ended(impatient, row, kind):
    """a slow caller is ended at its deadline"""
    row.fault = f"ended at a deadline: {kind.__name__.replace('_', ' ')}"
    begun = time.monotonic()
    with Siege(impatient.port, 3, [kind]) as siege:
        eventually(lambda: siege.ended == 3, deadline_s=120)
    row.note(after_s=time.monotonic() - begun)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A service with short deadlines."""
    installation = installation_of(tmp_path_factory.mktemp("impatient"))
    with Service(installation.settings, **IMPATIENT) as service:
        yield service


def test_disconnects(installation, row, much):
    """callers who leave in the middle"""
    count = much(150, 1000)
    whole = http("POST", PREDICT, json.dumps({"rows": list(rows())}).encode())
    small = http("POST", PREDICT, json.dumps({"rows": rows()[:1]}).encode())
    moments = (
        whole[:40],
        HEAD.encode() + b"Content-Length: 5000\r\n\r\n{",
        whole[: len(whole) // 2],
        whole,
        small,
        small * 20,
    )
    with Service(installation.settings) as service, Load(service.port, predicts((1, 20)), rate=RATE / 2) as load:
        for warm in range(60):
            leave(service.port, moments[warm % len(moments)], reset=False)
        eventually(lambda: len(load.outcomes) > 30)
        settled = service.footprint()
        for number in range(count):
            leave(service.port, moments[number % len(moments)], reset=number % 2 == 0)
        eventually(lambda: service.footprint().fds <= settled.fds + 5, deadline_s=120)
        eventually(lambda: service.footprint().threads <= settled.threads + 5, deadline_s=120)
        after = service.footprint()
        load.stop()
        missing = installation.missing(acknowledged(load.outcomes))
    failed = [o.reply for o in load.outcomes if o.reply.status != 200]
    row.tried, row.survived = count, count if not failed else 0
    row.note(requests=len(load.outcomes), failed=len(failed), fds_more=after.fds - settled.fds)
    row.note(threads_more=after.threads - settled.threads, rss_more_mb=after.rss_mb - settled.rss_mb)
    assert failed == []
    assert missing == set()
    assert "Traceback" not in service.log.read_text(errors="replace")


def test_pipelining(installation, row):
    """requests behind each other on one connection: answered in order"""
    import socket

    import httptools

    class Answers:
        bodies: list[bytes]

        def __init__(self):
            self.bodies, self.statuses = [b""], []

        def on_headers_complete(self):
            self.statuses.append(parser.get_status_code())

        def on_body(self, body):
            self.bodies[-1] += body

        def on_message_complete(self):
            self.bodies.append(b"")

    counts = [1, 30, 1, 500, 2, 1, 1, 64, 65, 1] * 5
    sent = b"".join(predicts(counts)(n)[0] if n % 7 else http("GET", "/healthz") for n in range(len(counts)))
    with (
        Service(installation.settings) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as raw,
    ):
        raw.sendall(sent)
        answers = Answers()
        parser = httptools.HttpResponseParser(answers)
        while len(answers.bodies) <= len(counts):
            data = raw.recv(1 << 20)
            assert data, f"closed after {len(answers.bodies) - 1} of {len(counts)} answers"
            parser.feed_data(data)
    assert set(answers.statuses) == {200}
    found = [len(json.loads(body).get("predictions", ())) for body in answers.bodies[: len(counts)]]
    assert found == [count if n % 7 else 0 for n, count in enumerate(counts)]
    row.tried = row.survived = len(counts)


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "in chunks"])
def test_a_huge_body(installation, row, much, chunked):
    """a body of 100 MB is refused before it is kept"""
    row.fault = f"a body of 100 MB, {'in chunks' if chunked else 'declared'}"
    with Service(installation.settings) as service, Load(service.port, predicts((1,)), rate=RATE / 2) as load:
        eventually(lambda: len(load.outcomes) > 30)
        before = service.footprint()
        statuses = [pour(service.port, 100_000_000, chunked=chunked) for _ in range(much(2, 10))]
        after = service.footprint()
    row.tried, row.survived = len(statuses), statuses.count(413)
    row.note(rss_more_mb=after.rss_mb - before.rss_mb, worst_ms_of_others=load.figures().worst_ms)
    assert set(statuses) <= {413, 0}  # 0: the answer was lost with the connection, which TCP allows
    assert statuses.count(413)
    assert after.rss_mb - before.rss_mb < 60
    assert [o.reply for o in load.outcomes if o.reply.status != 200] == []
