"""The last good local copy: which versions were served when the ledger last answered, for a start while it does not.

`.treadle/serving/last-good.json` only names versions and digests; the bundles themselves are where they always are, and
are verified like any other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import msgspec

from serving.models.model import ServedModel, open_model
from serving.models.proof import Prover
from treadle.errors import TreadleError
from treadle.ledger import Ledger
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version that was served.

    Attributes:
        bundle: Its folder, relative to the installation's home.
    """

    version: int
    bundle: str
    digest: str


_decode = msgspec.json.Decoder(dict[str, Served]).decode


class LastGood:
    """The note of one installation; several workers may keep it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.state_dir / "serving" / "last-good.json"
        self._noted = self._read()

    @property
    def is_kept(self) -> bool:
        """Whether it names a model."""
        return bool(self._noted)

    def keep(self, models: Mapping[str, ServedModel]) -> None:
        """Note what is served; written when it has changed, whole or not at all."""
        home = self._settings.home
        served = {name: Served(m.version, str(m.folder.relative_to(home)), m.digest) for name, m in models.items()}
        if served == self._noted:
            return
        self._noted = served
        try:
            self._write(served)
        except OSError as error:
            log.warning("what is served was not noted for a start without the ledger: %s", error)

    def _write(self, served: dict[str, Served]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(served), indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path)

    def open_all(self, prover: Prover) -> tuple[dict[str, ServedModel], dict[str, str]]:
        """The models that it names, and why some of them do not open."""
        models: dict[str, ServedModel] = {}
        troubles: dict[str, str] = {}
        for name, served in self._noted.items():
            folder = self._settings.home / served.bundle
            try:
                models[name] = open_model(self._settings, prover, name, served.version, folder, served.digest)
            except (TreadleError, OSError) as error:
                troubles[name] = str(error)
        return models, troubles

    def _read(self) -> dict[str, Served]:
        """What was noted last; nothing when there is no note, or one that cannot be read."""
        try:
            return _decode(self._path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return {}


def open_ledger(settings: Settings) -> Ledger:
    """The ledger; one that is opened later, when there is something to serve without it.

    Raises:
        Unavailable: It cannot be opened, and nothing was ever served from this home.
    """
    return Ledger.later(settings) if LastGood(settings).is_kept else Ledger.open(settings)
