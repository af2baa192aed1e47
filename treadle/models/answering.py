"""A registered version as something that answers tables: its bundle in onnxruntime, one batch at a time.

The same ONNX that the service runs, for batch scoring and for the champion's side of the gate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from treadle.errors import BrokenBundle, NotFound
from treadle.ledger import Ledger
from treadle.models.bundle import Bundle
from treadle.models.onnx_export import frame_to_inputs
from treadle.models.onnx_session import open_session
from treadle.models.trust import ensure_trust, open_bundle
from treadle.project import Project
from treadle.settings import Settings
from treadle.tables.schema import Schema


class Answering:
    """An opened version.

    Attributes:
        bundle: The verified bundle.
        version: Its number in the registry.
    """

    def __init__(self, bundle: Bundle, version: int) -> None:
        self.bundle = bundle
        self.version = version
        self._session = open_session(bundle.onnx_bytes)

    def answer(self, frame: pd.DataFrame) -> np.ndarray:
        """Answer conformed rows.

        Returns:
            Predictions (n,) for regression, probabilities (n, n_classes) in the manifest's class order otherwise.
        """
        columns = self.bundle.manifest.columns
        (answer,) = self._session.run(None, frame_to_inputs(frame, columns))
        return np.asarray(answer, dtype=np.float64)


def open_version(settings: Settings, ledger: Ledger, name: str, version: int | None = None) -> Answering:
    """Open a version's bundle after checking its signature and every digest; the champion when `version` is left out.

    Raises:
        NotFound: The model has no champion, or no such version.
        BrokenBundle: It is not what was registered, or nobody signed it who is trusted.
    """
    if version is None:
        champion = ledger.champion(name)
        if champion is None:
            raise NotFound(f"'{name}' has no champion yet. `treadle train {name}` trains one.")
        version = champion.version
    row = ledger.version(name, version)
    if row is None:
        raise NotFound(f"'{name}' has no version {version}. `treadle models {name}` lists them.")
    ensure_trust(settings, ledger)
    return Answering(open_bundle(settings, name, version, settings.home / row.bundle, row.digest), version)


def open_for_rows(
    settings: Settings, ledger: Ledger, project: Project, schema: Schema, version: int
) -> Answering | str:
    """A version that can answer the ledger's rows, whoever answered them first; or why it cannot, in plain words."""
    hidden = [column.name for column in schema.features if column.name in project.privacy.redacted]
    if hidden:
        return f"the ledger does not keep '{hidden[0]}' (privacy), so version {version} cannot answer the same rows."
    try:
        served = open_version(settings, ledger, project.name, version)
    except (NotFound, BrokenBundle) as error:
        return str(error)
    manifest = served.bundle.manifest
    if [(c.name, c.kind) for c in manifest.columns] != [(c.name, c.kind) for c in schema.features]:
        return f"version {version} has other columns."
    if manifest.classes != schema.classes:
        return f"version {version} has other classes."
    return served
