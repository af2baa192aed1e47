"""What one process of the service is made of: its parts are made together, begun together and ended one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.answering.lane import Lane
from serving.answering.predict import Endpoints
from serving.answering.writer import LedgerWriter
from serving.door.access import Access
from serving.door.admission import Admission
from serving.door.quota import Quota
from serving.models.champions import Champions
from serving.models.last_good import open_ledger
from serving.ready.work import ReadyModels
from serving.releasing.releases import Releases
from serving.telemetry.metrics import Metrics
from serving.telemetry.standing import standings
from serving.telemetry.tracing import Tracing, open_tracing
from serving.telemetry.troubles import Troubles
from treadle.keys import refuse_open_address
from treadle.ledger import Drain, Journal, Ledger
from treadle.settings import Settings

JUDGE_S = 15.0
REST_S = 20.0


@dataclass(frozen=True)
class Parts:
    """The parts.

    Attributes:
        endpoints: The work of the routes that answer with a project's model.
        ready: The work of the routes that answer with a ready model.
        drain: `None` where another process carries the journal into the ledger.
        tracing: `None` where no traces are wanted.
    """

    settings: Settings
    ledger: Ledger
    access: Access
    admission: Admission
    metrics: Metrics
    champions: Champions
    releases: Releases
    writer: LedgerWriter
    journal: Journal
    endpoints: Endpoints
    ready: ReadyModels
    troubles: Troubles
    drain: Drain | None
    tracing: Tracing | None

    def lane(self) -> Lane | None:
        """Where small requests are answered together; not where each answer waits for the disk."""
        if self.journal.durable:
            return None
        return Lane(self.champions, self.journal, self.metrics, self.releases, self.tracing)


def make_parts(settings: Settings, *, drains: bool, tracing: Tracing | None) -> Parts:
    """The parts of a service, none of them begun.

    Raises:
        Unavailable: The ledger cannot be opened, or everybody could call.
    """
    ledger = open_ledger(settings)
    refuse_open_address(settings, ledger)
    metrics, champions, writer = Metrics(), Champions(settings, ledger), LedgerWriter(ledger)
    releases = Releases(settings, ledger, champions)
    journal = Journal(settings.journal_dir, durable=settings.ledger_durability == "full")
    admission = Admission(settings.most_requests, settings.most_received_bytes)
    quota = Quota(settings.state_dir / "quota")
    return Parts(
        settings,
        ledger,
        access=Access(settings, ledger),
        admission=admission,
        metrics=metrics,
        champions=champions,
        releases=releases,
        writer=writer,
        journal=journal,
        endpoints=Endpoints(settings, champions, writer, journal, ledger, metrics, admission, quota, releases),
        ready=ReadyModels(settings, ledger, metrics, admission, quota),
        troubles=Troubles(champions, settings.journal_dir),
        drain=Drain(settings.journal_dir, lambda: ledger) if drains else None,
        tracing=tracing or open_tracing(settings),
    )


@asynccontextmanager
async def alive(parts: Parts) -> AsyncIterator[None]:
    """Begin the parts; at the end, stop those first that still need others."""
    parts.access.start()
    parts.writer.start()
    parts.champions.start()
    parts.releases.start()
    if parts.drain is not None:
        parts.drain.start()
    judging = asyncio.create_task(_judge(parts.metrics, parts.ledger))
    resting = asyncio.create_task(_rest(parts.journal))
    yield
    judging.cancel()
    resting.cancel()
    parts.releases.stop()
    parts.champions.stop()
    await asyncio.to_thread(parts.ready.stop)
    parts.admission.stop()
    parts.writer.stop()
    parts.journal.close()
    if parts.drain is not None:
        parts.drain.stop()
    parts.access.stop()
    if parts.tracing is not None:
        await asyncio.to_thread(parts.tracing.close)


async def _judge(metrics: Metrics, ledger: Ledger) -> None:
    """Tell the metrics, now and then, whether the models are right."""
    while True:
        metrics.judge(await asyncio.to_thread(standings, ledger))
        await asyncio.sleep(JUDGE_S)


async def _rest(journal: Journal) -> None:
    """Leave what callers sent in no journal for longer than its way into the ledger takes."""
    while True:
        await asyncio.sleep(REST_S / 4)
        journal.rest(REST_S)
