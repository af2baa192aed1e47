"""Which versions answer: watches the ledger's champions and swaps one for another by a single assignment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from serving.models.last_good import LastGood
from serving.models.model import ServedModel, open_model
from serving.models.proof import Prover
from treadle.errors import BadData, NotFound, TreadleError, Unavailable, nearest
from treadle.ledger import AlertBook, Champion, Ledger, Version
from treadle.models.trust import ensure_trust
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

RETRY_S = 10.0  # a version that failed is tried again so often: its file may have been mended
LEDGER_GRACE_S = 2.0  # a cold start waits so long for the ledger before it serves the last good copy


@dataclass(frozen=True)
class Spare:
    """The champion before, for the first minutes of a new one.

    Attributes:
        beside: The version that is new.
        until: By the monotonic clock.
    """

    model: ServedModel
    beside: int
    until: float


class Champions:
    """The models in memory, and why some are not the newest.

    A request takes one model once and keeps it to its end, so no answer is mixed from two versions.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._alerts = AlertBook(ledger)
        self._models: dict[str, ServedModel] = {}
        self._troubles: dict[str, str] = {}
        self._failed: dict[str, tuple[str, float]] = {}  # digest -> what is wrong, and when to try it again
        self._spares: dict[str, Spare] = {}
        self._pinned: dict[tuple[str, int], ServedModel] = {}
        self._pinning = threading.Lock()
        self._stop = threading.Event()
        self._last_good = LastGood(settings)
        self._prover = Prover(settings)
        self._asked = threading.Event()  # the ledger was asked once
        self._answered = False  # and it has answered
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def get(self, name: str) -> ServedModel:
        """The model that answers now.

        Raises:
            NotFound: There is no such model.
            Unavailable: There is, but no version of it could be opened.
        """
        model = self._models.get(name)
        if model is not None:
            return model
        if name in self._troubles:
            raise Unavailable(f"No version of '{name}' answers: {self._troubles[name]}")
        if not name.isprintable() or len(name) > 63:
            raise NotFound("No model of that name is served; /v1/models lists them.")
        hint = nearest(name, self._models)
        raise NotFound(f"No model '{name}' is served.{hint} `treadle train {name}` trains its first version.")

    def pinned(self, name: str, version: int | None) -> ServedModel:
        """One version, whoever is champion; it is opened if it is not in memory. `None` is the champion.

        Raises:
            NotFound: There is no such model or version.
            TreadleError: It cannot be opened.
        """
        champion = self._models.get(name)
        if version is None or (champion is not None and champion.version == version):
            return self.get(name)
        with self._pinning:  # however many ask at once, it is opened once
            model = self._pinned.get((name, version))
            if model is None:
                row = self._ledger.version(name, version)
                if row is None:
                    said = f"'{name}'" if name.isprintable() and len(name) <= 63 else "That model"
                    raise NotFound(f"{said} has no version {version}.")
                model = self._opened(name, row)
                self._pinned[name, version] = model
        return model

    def _tidy(self) -> None:
        """Let idle sessions leave memory, and forget pinned versions that a reset has made others."""
        for model in (*self._models.values(), *self._pinned.values()):
            if model.session.rest(self._settings.idle_s):
                log.info("%s: version %s is idle and leaves memory", model.name, model.version)
        for (name, version), model in list(self._pinned.items()):
            row = self._ledger.version(name, version)
            if row is None or row.digest != model.digest:
                del self._pinned[name, version]

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """All models that answer now."""
        return self._models

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why a champion does not answer, by model; `ledger` when the ledger itself cannot be read."""
        return self._troubles

    def refresh(self) -> None:
        """Look once: open new champions, let go of models that have none any more."""
        try:
            ensure_trust(self._settings, self._ledger)
            wanted = {name: self._candidates(name, champion) for name, champion in self._ledger.champions().items()}
            if not wanted and self._last_good.is_kept and self._ledger.is_blank():
                raise Unavailable("The ledger is a new one, and what was served before is not in it.")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - whatever ails the ledger, what is served goes on being served
            with self._lock:
                self._troubles = {**self._troubles, "ledger": f"The ledger cannot be read: {type(error).__name__}."}
            return
        with self._lock:
            self._answered = True
            self._take(wanted)
        self._last_good.keep(self._models)
        self._prover.rest()
        self._tidy()

    def _take(self, wanted: Mapping[str, list[Version]]) -> None:
        """Serve what the ledger says, as far as it can be opened."""
        models: dict[str, ServedModel] = {}
        troubles: dict[str, str] = {}
        for name, candidates in wanted.items():
            model, trouble = self._follow(name, candidates)
            if model is not None:
                models[name] = model
            if trouble is not None:
                troubles[name] = trouble
        for name, model in models.items():
            self._keep_spare(name, model)
        for name in self._spares.keys() - models.keys():
            del self._spares[name]
        self._models = models
        self._troubles = troubles

    def _keep_spare(self, name: str, new: ServedModel) -> None:
        """Keep the champion before a new one in memory; a return to it begins no new trial."""
        old = self._models.get(name)
        spare = self._spares.get(name)
        if old is not None and old.version != new.version:
            returns = spare is not None and spare.model.version == new.version
            spare = None if returns else Spare(old, new.version, time.monotonic() + self._settings.bake_s)
        if spare is None or time.monotonic() > spare.until:
            self._spares.pop(name, None)
        else:
            self._spares[name] = spare

    def spare(self, model: ServedModel) -> ServedModel | None:
        """The champion before this one, while this one is new."""
        spare = self._spares.get(model.name)
        return spare.model if spare is not None and spare.beside == model.version else None

    def _take_last_good(self) -> None:
        """Serve what was served when the ledger last answered, until it answers again."""
        with self._lock:
            if self._answered or not self._last_good.is_kept:
                return
            self._models, troubles = self._last_good.open_all(self._prover)
            self._troubles = {**troubles, "ledger": "The ledger cannot be read: the last good copy answers."}
            log.warning("the ledger cannot be read: %d model(s) of the last good copy answer", len(self._models))

    def _candidates(self, name: str, champion: Champion) -> list[Version]:
        """The champion and the one before it."""
        numbers = [n for n in (champion.version, champion.previous) if n is not None]
        versions = {version.version: version for version in self._ledger.versions(name)}
        return [versions[n] for n in numbers if n in versions]

    def _follow(self, name: str, candidates: list[Version]) -> tuple[ServedModel | None, str | None]:
        """What shall answer now, and why it is not the champion.

        A champion that cannot be opened leaves what is served; after a restart, when nothing is, its predecessor.
        """
        if not candidates:
            return self._models.get(name), f"The ledger does not have the champion of '{name}'."
        champion, *before = candidates
        try:
            return self._open(name, champion), None
        except (TreadleError, OSError) as error:
            trouble = str(error)
        if name in self._models:
            return self._models[name], trouble
        for version in before:
            try:
                return self._open(name, version), trouble
            except (TreadleError, OSError):
                continue
        return None, trouble

    def _open(self, name: str, version: Version) -> ServedModel:
        """A version, opened unless it is served already; a reset model starts over at other digests.

        Raises:
            TreadleError: It cannot be opened, or could not a moment ago.
        """
        served = self._models.get(name)
        if served is not None and (served.version, served.digest) == (version.version, version.digest):
            return served
        spare = self._spares.get(name)
        if spare is not None and (spare.model.version, spare.model.digest) == (version.version, version.digest):
            return spare.model
        why, retry_at = self._failed.get(version.digest, ("", 0.0))
        if time.monotonic() < retry_at:
            raise Unavailable(why)
        try:
            model = self._opened(name, version)
        except (TreadleError, OSError) as error:
            self._failed[version.digest] = (str(error), time.monotonic() + RETRY_S)
            log.warning("%s: version %s is not served: %s", name, version.version, error)
            if isinstance(error, BadData) and str(error) != why:
                self._audit("bundle refused", name, version.version, str(error))
            raise
        self._failed.pop(version.digest, None)
        self._note_mended(name, version.version)
        log.info("%s: version %s answers now", name, version.version)
        return model

    def _opened(self, name: str, version: Version) -> ServedModel:
        folder = self._settings.home / version.bundle
        return open_model(self._settings, self._prover, name, version.version, folder, version.digest)

    def _audit(self, what: str, name: str, version: int, why: str) -> None:
        """Write down what became of a bundle; that the ledger cannot take it must not stop what is served."""
        try:
            self._ledger.record_audit("serving", what, f"{name}/{version}", None, why)
        except Exception:
            log.warning("'%s' of %s version %s is not in the audit log", what, name, version, exc_info=True)

    def _note_mended(self, name: str, version: int) -> None:
        """Write down that a bundle was opened which this or another worker had refused, so that its alert ends."""
        try:
            is_told = self._alerts.has_open(name, "not-served", f"version {version}")
        except Exception as error:  # noqa: BLE001 - as above: what is served comes first
            log.warning("the alerts cannot be read: %s", type(error).__name__)
            return
        if is_told:
            self._audit("bundle opened", name, version, "It is as it was registered.")

    def start(self) -> None:
        """Look now, and then again and again in a thread of its own; return when something can be served."""
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)
        self._thread.start()
        self._asked.wait(LEDGER_GRACE_S if self._last_good.is_kept else None)
        self._take_last_good()

    def _run(self) -> None:
        self.refresh()
        self._asked.set()
        while not self._stop.wait(self._settings.swap_poll_s):
            self.refresh()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
