"""Which versions answer: watches the ledger's champions and swaps one for another by a single assignment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from serving.model import ServedModel, open_model
from treadle.errors import NotFound, TreadleError, nearest
from treadle.ledger import Ledger
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")


class Champions:
    """The models in memory, and why some are not the newest.

    A request takes one model once and keeps it to its end, so no answer is mixed from two versions.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._models: dict[str, ServedModel] = {}
        self._troubles: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, name: str) -> ServedModel:
        """The model that answers now.

        Raises:
            NotFound: None does.
        """
        model = self._models.get(name)
        if model is None:
            shown = name if name.isprintable() and len(name) <= 63 else "that name"
            raise NotFound(
                f"No model '{shown}' is served.{nearest(shown, self._models)} `treadle train {shown}` trains its first version."
            )
        return model

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """All models that answer now."""
        return self._models

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why a champion does not answer, by model."""
        return self._troubles

    def refresh(self) -> None:
        """Look once: open new champions, let go of models that have none any more."""
        try:
            wanted = self._ledger.champions()
        except Exception as error:  # noqa: BLE001 - whatever ails the ledger, what is served goes on being served
            self._troubles = {**self._troubles, "ledger": f"The ledger cannot be read: {type(error).__name__}."}
            return
        models, troubles = dict(self._models), {}
        for name, champion in wanted.items():
            served = models.get(name)
            if served is not None and served.version == champion.version and served.digest == self._digest(served):
                continue
            try:
                models[name] = self._open(name, champion.version)
                log.info("%s: version %s answers now", name, champion.version)
            except (TreadleError, OSError) as error:
                troubles[name] = str(error)
                if self._troubles.get(name) != troubles[name]:
                    log.warning("%s: version %s is not served: %s", name, champion.version, error)
        self._models = {name: model for name, model in models.items() if name in wanted}
        self._troubles = troubles

    def _digest(self, served: ServedModel) -> str | None:
        """The digest that the ledger has for a served version; a reset model starts over at other digests."""
        row = self._ledger.version(served.name, served.version)
        return row.digest if row else None

    def _open(self, name: str, version: int) -> ServedModel:
        row = self._ledger.version(name, version)
        if row is None:
            raise NotFound(f"The ledger has no version {version} of '{name}'.")
        return open_model(name, version, self._settings.home / row.bundle, row.digest)

    def start(self) -> None:
        """Look now, and then again and again in a thread of its own."""
        self.refresh()
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.swap_poll_s):
            self.refresh()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
