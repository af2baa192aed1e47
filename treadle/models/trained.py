"""A model that this platform trained, for what is not its own project: which version is champion, and its verified bundle.

Knows nothing of onnxruntime or MLflow; ready models stand on it without knowing the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from treadle.errors import NotFound, nearest
from treadle.ledger import Ledger
from treadle.models.bundle import Bundle
from treadle.models.trust import ensure_trust, open_bundle
from treadle.settings import Settings


@dataclass(frozen=True)
class Champion:
    """The version that answers now.

    Attributes:
        digest: SHA-256 of its manifest, from the ledger.
        folder: Where its bundle is.
    """

    project: str
    version: int
    digest: str
    folder: Path


def champion_of(settings: Settings, project: str) -> Champion:
    """Ask the ledger who is champion.

    Raises:
        NotFound: Nothing of that name is registered, or no version of it was promoted.
        Unavailable: The ledger does not answer.
    """
    ledger = _ledger(_key(settings))
    champion = ledger.champion(project)
    row = None if champion is None else ledger.version(project, champion.version)
    if row is not None:
        return Champion(project, row.version, row.digest, settings.home / row.bundle)
    if ledger.versions(project):
        raise NotFound(f"'{project}' has no champion; `treadle promote {project}` makes one of its versions that.")
    names = list(ledger.champions())
    raise NotFound(
        f"No model '{project}' is registered here.{nearest(project, names)} `treadle train {project}` trains one."
    )


def open_champion(settings: Settings, champion: Champion) -> Bundle:
    """Read its bundle; signature and every digest are verified, and a version is read once in a process.

    Raises:
        BrokenBundle: It is not what was registered, or nobody signed it who is trusted.
    """
    return _opened(_key(settings), champion)


def _key(settings: Settings) -> Any:
    """Settings as something to remember by: they are frozen, and so hashable, which their type does not say."""
    return settings


@lru_cache(maxsize=8)
def _ledger(settings: Any) -> Ledger:
    return Ledger.later(settings)


@lru_cache(maxsize=8)
def _opened(settings: Any, champion: Champion) -> Bundle:
    ensure_trust(settings, _ledger(settings))
    return open_bundle(settings, champion.project, champion.version, champion.folder, champion.digest)
