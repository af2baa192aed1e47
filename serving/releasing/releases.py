"""The releases of one worker: which run, who gets a candidate's answer, and how each ends.

Every worker writes what it saw into the ledger. The decision is made here as well, in the thread of one worker at a time:
whoever holds the release's row (`treadle.ledger.Releases.hold`) judges what all of them saw, and ends it by
compare-and-swap. A worker that dies is followed by another within `HOLD_S` seconds; nothing is decided twice.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
from starlette.requests import Request

from serving.door.access import principal_of
from serving.models.champions import Champions
from serving.models.model import ServedModel
from serving.models.proof import Prover
from serving.models.session import Session
from serving.releasing.bake import Bake
from serving.releasing.candidate import Candidate, Columns
from serving.releasing.live import Live
from treadle.errors import BadData, Conflict, NotFound, TreadleError, Unavailable
from treadle.ledger import Ledger, Release
from treadle.ledger import Releases as Book
from treadle.models.trust import open_bundle
from treadle.promotion.release import Judgement, Quality, judge, look_at, total
from treadle.retraining.suspicion import examine_served
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

HOLD_S = 5.0
WHO = "serving"


class Releases:
    """The releases that run, in this worker."""

    def __init__(self, settings: Settings, ledger: Ledger, champions: Champions) -> None:
        self._settings = settings
        self._ledger = ledger
        self._book = Book(ledger)
        self._champions = champions
        self._prover = Prover(settings)
        self._live: dict[str, Live] = {}
        self._bake = Bake(champions, self._book, ledger)
        self._worker = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # On a request's way: a lookup, when no release runs

    def choose(self, name: str, caller: bytes) -> Live | None:
        """The canary that answers this caller, if one does."""
        live = self._live.get(name)
        return live if live is not None and live.chosen(caller) else None

    def has_canary(self, name: str) -> bool:
        """Whether some callers of a model get another version's answer."""
        live = self._live.get(name)
        return live is not None and live.release.mode == "canary"

    def shadow(
        self,
        model: ServedModel,
        columns: Callable[[], Columns],
        values: np.ndarray,
        ids: Sequence[str],
        seconds: float,
        requests: int = 1,
    ) -> None:
        """After the champion's answer is on its way: count it, and let the shadow answer the same rows beside.

        Args:
            model: The version that answered.
            columns: Gives what it answered; asked for only if there is a shadow.
            values: Its answer.
            ids: The rows' prediction ids.
            seconds: How long the model took.
            requests: How many were answered in this one run.
        """
        self._bake.answered(model, requests)
        live = self._live.get(model.name)
        if live is None or model.version != live.release.champion:
            return
        live.champion_answered(seconds)
        if live.release.mode == "shadow":
            live.beside(columns(), values, ids)

    def failed(self, model: ServedModel) -> None:
        """Count a request to which a champion had no answer and the one before it had one."""
        self._bake.failed(model)

    @property
    def running(self) -> Mapping[str, Release]:
        """The releases of this worker, by model."""
        return {name: live.release for name, live in self._live.items()}

    # The thread

    def start(self) -> None:
        """Look again and again, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="releases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End every candidate; what was seen is written."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._settings.swap_poll_s)
        live, self._live = self._live, {}
        for one in live.values():
            self._end(one)

    def look(self) -> None:
        """Look once: follow the ledger, write what was seen, judge what is this worker's to judge."""
        try:
            self._follow(self._book.running())
            for live in list(self._live.values()):
                live.write(self._book, self._worker)
                self._judge(live)
            self._bake.look()
        except Exception as error:  # noqa: BLE001 - whatever ails the ledger: what runs goes on, and is judged later
            log.warning("releases wait for the ledger: %s", " ".join(str(error).split())[:200])

    def _follow(self, running: Mapping[str, Release]) -> None:
        """Begin what is new, end what is over."""
        live = dict(self._live)
        over = [one for name, one in live.items() if name not in running or running[name].seq != one.release.seq]
        for one in over:
            del live[one.release.model]
        self._live = live  # first, so that nobody is sent to what ends now
        for one in over:
            self._end(one)
        for name, release in running.items():
            if name not in self._live and (begun := self._begin(release)) is not None:
                self._live = {**self._live, name: begun}
        self._prover.rest()

    def _begin(self, release: Release) -> Live | None:
        """Open a candidate; one that does not hold up is rolled back before anybody asks it."""
        try:
            candidate = self._open(release)
        except Unavailable as error:  # that says nothing of the version
            log.warning("%s: version %s waits to be tried: %s", release.model, release.version, error)
            return None
        except (TreadleError, OSError) as error:
            self._finish(release, Judgement("roll back", f"It cannot be opened. {error}", {}))
            return None
        candidate.start()
        log.info("%s: version %s is tried as %s", release.model, release.version, release.mode)
        return Live(release, candidate)

    def _open(self, release: Release) -> Candidate:
        name, number = release.model, release.version
        version = self._ledger.version(name, number)
        if version is None:
            raise NotFound(f"'{name}' has no version {number} any more.")
        folder = self._settings.home / version.bundle
        bundle = open_bundle(self._settings, name, number, folder, version.digest)
        self._prover.prove(bundle, f"Version {number} of '{name}'")
        frame = ServedModel(name, number, version.digest, bundle.manifest, Session(_never), folder)
        return Candidate(self._settings, frame, bundle.served_bytes, release.rules.deadline_s)

    def _end(self, live: Live) -> None:
        live.candidate.stop()
        try:
            live.write(self._book, self._worker)
        except Exception as error:  # noqa: BLE001 - it is over; these are only its last figures
            log.warning("the last figures of a release were not written: %s", type(error).__name__)

    def _judge(self, live: Live) -> None:
        """Decide, if it is this worker's turn."""
        release = live.release
        if not self._book.hold(release, self._worker, HOLD_S):
            return
        champion = self._ledger.champion(release.model)
        if champion is None or champion.version != release.champion:
            self._settle(release, None if champion is None else champion.version)
            return
        seen = self._book.evidence(release.seq)
        newest = int(time.time() // 60)
        recent = total(part for minute, part in seen.items() if minute >= newest - 1)
        minutes = (datetime.now(UTC) - release.started).total_seconds() / 60
        judgement = judge(total(seen.values()), recent, minutes, release.rules, self._quality(live))
        if judgement.decision == "advance":
            self._advance(release, judgement)
        elif judgement.decision == "roll back":
            self._finish(release, judgement)
        else:
            self._book.note(release, judgement)

    def _settle(self, release: Release, champion: int | None) -> None:
        """The champion is another than the release was begun against."""
        if champion == release.version:
            reason = "It was promoted by another way."
        else:
            reason = f"The champion is version {champion} now, it was begun against version {release.champion}."
        self._ended(lambda: self._book.finish(release, "stopped", reason, {}, WHO))

    def _quality(self, live: Live) -> Quality | None:
        """What the labels say; looked at again when there are new ones."""
        labels = self._book.count_labels(live.release)
        if labels >= live.release.rules.min_labelled and labels != live.looked[0]:
            examine_served(self._settings, self._ledger, live.release.model)
            live.looked = (labels, look_at(self._book.losses(live.release), live.release.rules))
        return live.looked[1]

    def _advance(self, release: Release, judgement: Judgement) -> None:
        def advance() -> None:
            self._book.advance(release, judgement.reason, judgement.figures, WHO)

        if self._ended(advance):
            self._record(release, "promoted", judgement)

    def _finish(self, release: Release, judgement: Judgement) -> None:
        """Roll back; the next look ends the candidate here and in all other workers."""

        def finish() -> None:
            self._book.finish(release, "rolled_back", judgement.reason, judgement.figures, WHO)

        if self._ended(finish):
            log.warning("%s: version %s is rolled back: %s", release.model, release.version, judgement.reason)
            self._record(release, "rolled-back", judgement)

    def _ended(self, end: Any) -> bool:
        """End a release; False when somebody else has done so first."""
        try:
            end()
        except Conflict as error:
            log.info("%s", error)
            return False
        return True

    def _record(self, release: Release, kind: str, judgement: Judgement) -> None:
        figures = {**judgement.figures, "version": release.version, "mode": release.mode}
        self._ledger.record_decision(release.model, kind, judgement.reason, figures, datetime.now(UTC))


def caller_of(request: Request) -> bytes:
    """What a canary's callers are told apart by: the key that they name, else their API key, else their address."""
    named = request.headers.get("x-sticky-key")
    if named:
        return b"n" + named.encode()[:1000]
    who = principal_of(request.scope)
    if who is not None and who.key_id is not None:
        return b"k" + who.key_id.encode()
    return b"a" + (request.client.host if request.client else "").encode()


def _never() -> NoReturn:
    raise BadData("A candidate is not opened in the service's own process.")
