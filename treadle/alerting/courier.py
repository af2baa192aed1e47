"""Carries alerts out: puts into words what was not told yet, and delivers it, each channel in a thread of its own.

A channel that is slow or down holds up neither the others nor whoever called: what it did not take is in the ledger and
is tried again, by the next look or by the platform's own courier.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial

from treadle.alerting.alerts import KINDS
from treadle.alerting.channels import Channel, read_channels, send
from treadle.errors import TreadleError
from treadle.ledger import Alert, AlertBook, Ledger
from treadle.pages.look import moment
from treadle.project import Alerts as Rules
from treadle.project import load_project
from treadle.settings import Settings
from treadle.wording import some

log = logging.getLogger("treadle.alerts")

KEPT = timedelta(days=90)
"""For so long messages are kept; the alerts themselves stay."""


class Courier:
    """The courier of one process. Threads that a channel holds up are left to themselves, one a channel at most."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._book = AlertBook(ledger)
        self._busy: dict[str, threading.Thread] = {}

    def carry(self, wait_s: float) -> None:
        """Carry out what there is, and wait for the channels at most so long, seconds.

        Raises:
            BadChannels: The channels cannot be read; the messages wait for them.
            Unavailable: The ledger cannot be used.
        """
        self._book.prune(datetime.now(UTC) - KEPT)
        self._book.find_dead_turns()
        self._book.write_messages(self._rules_of, partial(say, url=self._settings.api_url))
        channels = read_channels(self._settings)
        self._book.spread(lambda project: [channel.name for channel in channels if channel.takes(project)])
        end = time.monotonic() + wait_s
        started = [self._start(channel) for channel in channels]
        for thread in started:
            thread.join(max(0.0, end - time.monotonic()))

    def _rules_of(self, name: str) -> Rules:
        """A project's own rules; the usual ones where its file is gone or broken, since that is no reason for silence."""
        try:
            return load_project(name, self._settings).alerts
        except TreadleError:
            return Rules()

    def _start(self, channel: Channel) -> threading.Thread:
        busy = self._busy.get(channel.name)
        if busy is None or not busy.is_alive():
            busy = threading.Thread(target=self._deliver, args=(channel,), name=f"channel {channel.name}", daemon=True)
            self._busy[channel.name] = busy
            busy.start()
        return busy

    def _deliver(self, channel: Channel) -> None:
        """Deliver what is due to a channel, the oldest first, until it does not take one."""
        try:
            while (delivery := self._book.take(channel.name)) is not None:
                why = send(channel, delivery.severity, delivery.title, delivery.body)
                self._book.settle(delivery, why)
                if why is not None:
                    log.warning("channel %s did not take message %s: %s", channel.name, delivery.message, why)
                    return
        except Exception as error:  # noqa: BLE001 - the ledger is out: what is held is tried again later
            log.warning("channel %s waits for the ledger: %s", channel.name, type(error).__name__)


def say(alert: Alert, what: str, url: str) -> tuple[str, str]:
    """Title and body of a message, plain text.

    Args:
        alert: The alert.
        what: `new`, `more` for new findings of an open one, `over`.
        url: The console's address.
    """
    kind = KINDS[alert.kind]
    subject = f" ({alert.subject})" if alert.subject else ""
    if what == "over":
        never = "" if alert.told else " It was over before anybody was told."
        body = f"It was so from {moment(alert.at)} to {moment(alert.last)}, seen {_times(alert.times)}.{never}\n\n{alert.reason}"
        return f"{alert.model}: over: {kind.said}{subject}", body
    fresh = [finding for finding in alert.findings if finding not in alert.told]
    more = f", now also {some(fresh)}" if what == "more" else ""
    lines = [f"{heading}: {text}" for heading, text in alert.evidence.get("lines", [])]
    again = [f"Seen {_times(alert.times)} since {moment(alert.at)}."] if alert.times > 1 else []
    page = alert.evidence.get("page") or f"{url}/"
    end = [
        f"What you may do: {kind.advice}",
        f"Page: {page}",
        f"Nobody else needs to look: treadle alerts ack {alert.seq}",
    ]
    return f"{alert.model}: {kind.said}{subject}{more}", "\n".join([*lines, *again, "", *end])


def _times(times: int) -> str:
    return "once" if times == 1 else f"{times:,} times"
