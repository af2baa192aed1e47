"""Sends requests that may be bad, one after the other, and judges every answer, the log, and the ledger afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvloop

from tests.faults.case import CANARY, Case
from tests.faults.connection import LOST, Connection, Reply
from tests.faults.installation import Installation, eventually, rows
from tests.faults.report import Row
from tests.faults.routes import ROUTES, Route
from tests.faults.service import Service

ROWS_FRAMED = 4
ANSWER_S = 60.0  # a case without an answer for so long hangs
SECRET = "the-content-of-a-file-that-is-served-to-nobody"


class Examiner:
    """Sends cases one after the other and judges each answer.

    Attributes:
        acknowledged: Rows that were answered; the ledger must have exactly these.
        failures: What was wrong, a line each.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.acknowledged = 0
        self.framed = 0  # odd framings that were answered well; one body may hold two requests
        self.sent = 0
        self.worst_bytes = 0
        self.statuses: dict[int, int] = {}
        self.failures: list[str] = []
        self._connection: Connection | None = None
        self._loop = uvloop.new_event_loop()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._loop.close()

    def examine(self, case: Case) -> Reply:
        """Send a case; a failure is noted, with what was asked and what came back."""
        reply = self._loop.run_until_complete(self._ask(case))
        self.note(case, reply)
        return reply

    def note(self, case: Case, reply: Reply) -> None:
        """Judge an answer, whoever asked for it."""
        self.sent += 1
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        if reply.status >= 400:
            self.worst_bytes = max(self.worst_bytes, len(reply.body))
        self.failures += [
            f"{case.name}: {why} ({reply.status}: {reply.body[:300]!r})" for why in self._judge(case, reply)
        ]

    async def _ask(self, case: Case) -> Reply:
        """On the connection of the case before, if that is open still: what one leaves behind must not reach the next."""
        for _ in range(2):  # the loop stood still since: let it notice that the service closed an idle connection
            await asyncio.sleep(0)
        if case.framing or self._connection is None or not self._connection.open:
            if self._connection is not None:
                self._connection.close()
            self._connection = await Connection.to("127.0.0.1", self.service.port)
        reply = await self._connection.ask(case.request, ANSWER_S)
        if case.framing:
            self._connection.close()
        return reply

    def _judge(self, case: Case, reply: Reply) -> Iterator[str]:
        text = reply.body.decode("utf-8", "replace") + json.dumps(reply.headers)
        if reply.status == LOST and not case.framing:
            yield "no answer"
        if reply.status >= 500:  # also 503: nobody else asks anything, so there is no overload to speak of
            yield "the service failed"
        if reply.status >= 400 and len(reply.body) >= 4096:
            yield f"an error of {len(reply.body)} bytes"
        if case.refused and not 400 <= reply.status < 500:
            yield "it was not refused"
        if case.accepted and reply.status != 200:
            yield "it was refused"
        if CANARY in text and CANARY.encode() not in case.request.split(b"\r\n", 1)[0]:  # an address may be named
            yield "the caller's data came back"
        if "Traceback" in text or 'File "' in text or SECRET in text:
            yield "the answer shows the inside"
        self.framed += case.framing and reply.status == 200
        if case.route is not None and not case.framing:
            yield from self._judge_body(case.route, reply)

    def _judge_body(self, route: Route, reply: Reply) -> Iterator[str]:
        if reply.status == 200:
            try:
                self.acknowledged += route.rows_answered(reply)
            except (ValueError, KeyError, TypeError) as error:
                yield f"a good answer that cannot be read: {error}"
        elif 400 <= reply.status < 500 and reply.body:
            try:
                missing = route.error - json.loads(reply.body).keys()
            except ValueError:
                missing = route.error
            if missing:
                yield f"an error without {sorted(missing)}"

    def is_well(self) -> None:
        """The service answers as ever, its log is clean, and its ledger holds what was acknowledged, no more, no less."""
        assert self.service.get("/healthz").status == 200
        assert self.service.ready()[0] == 200
        log = self.service.log.read_text(errors="replace")
        assert "Traceback" not in log, log[-3000:]
        assert CANARY not in log


def present(service: Service) -> list[Route]:
    """The routes that this service has: those that answer good rows otherwise than with 404."""
    found = []
    for route in ROUTES:
        body = json.dumps(route.wrap(rows()[:1])).encode()
        reply = service.post(route.path, body)
        if reply.status not in {404, 405} or route.name == "feedback":  # nobody has such ids
            found.append(route)
    return found


def settled_count(installation: Installation) -> int:
    """How many predictions the ledger has when none has come for a while: nothing is on its way any more."""
    counts = [-1, installation.count()]
    while counts[-1] != counts[-2]:
        time.sleep(0.7)
        counts.append(installation.count())
    return counts[-1]


@contextmanager
def examining(installation: Installation, service: Service, routes: Sequence[Route], row: Row) -> Iterator[Examiner]:
    """An examiner; at the end every answer was as it must be, and the service is well."""
    before, settled = settled_count(installation), service.footprint()
    examiner = Examiner(service)
    try:
        yield examiner
    finally:
        examiner.close()
        row.tried, row.survived = examiner.sent, examiner.sent - len(examiner.failures)
        row.examined, row.failed_5xx = examiner.sent, sum(n for s, n in examiner.statuses.items() if s >= 500)
        row.note(**{str(status) if status else "closed": n for status, n in sorted(examiner.statuses.items())})
    after = service.footprint()
    row.note(longest_error_bytes=examiner.worst_bytes, fds_more=after.fds - settled.fds)
    row.note(rss_more_mb=after.rss_mb - settled.rss_mb, routes="+".join(sorted({r.name.split()[0] for r in routes})))
    assert examiner.failures == [], f"{len(examiner.failures)} of {examiner.sent}:\n" + "\n".join(
        examiner.failures[:40]
    )
    examiner.is_well()
    eventually(lambda: installation.count() >= before + examiner.acknowledged)
    more = installation.count() - before - examiner.acknowledged
    assert 0 <= more <= ROWS_FRAMED * examiner.framed, f"{more} rows more in the ledger than were acknowledged"
