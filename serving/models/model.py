"""One version in memory: its verified bundle in onnxruntime, proved on its own smoke rows before it may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serving.answering.decode import to_columns
from serving.answering.typed import TypedRows
from serving.models.proof import Prover
from serving.models.session import Session
from treadle.errors import BadData
from treadle.models.bundle import Bundle, Manifest
from treadle.models.packing import Packer
from treadle.models.plain import shape_answers
from treadle.models.trust import open_bundle
from treadle.privacy import Redactor, privacy_key
from treadle.settings import Settings

SMOKE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ServedModel:
    """A version that answers.

    Attributes:
        version: Its number in the registry.
        digest: SHA-256 of its manifest.
        folder: Where its bundle is.
        redact: Makes its rows fit for the ledger, where the project does not keep all of them.
    """

    name: str
    version: int
    digest: str
    manifest: Manifest
    session: Session
    folder: Path
    redact: Redactor | None = None

    @cached_property
    def typed(self) -> TypedRows:
        """The quick reader of this version's rows."""
        return TypedRows(self.manifest)

    @cached_property
    def prefix(self) -> bytes:
        """How each answer of the own protocol begins."""
        said = {"model": self.name, "version": self.version, "digest": self.digest}
        return msgspec.json.encode(said)[:-1] + b',"predictions":'

    @cached_property
    def packer(self) -> Packer | None:
        """Packs columns for the form that serves; `None` if it takes them as they are."""
        return Packer(self.manifest.packed) if self.manifest.packed is not None else None

    def inputs(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns as the form that serves takes them."""
        return columns if self.packer is None else self.packer.pack(columns)

    def answer(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Predictions (n,), or probabilities (n, n_classes)."""
        return self.session.run(self.inputs(columns))

    def answer_rows(self, rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
        """As `answer`, for rows that `typed` has read."""
        return self.session.run(self.typed.inputs(rows))

    def shape_answer(self, answer: np.ndarray) -> list[dict[str, Any]]:
        """Answers, (n,) or (n, n_classes), as callers get them: `prediction`, and `probabilities` by class."""
        return shape_answers(answer, self.manifest.classes)


def open_model(settings: Settings, prover: Prover, name: str, version: int, folder: Path, digest: str) -> ServedModel:
    """Verify, prove, open and try a version.

    Raises:
        Untrusted: Nobody signed it who is trusted here.
        BrokenBundle: It is not what was registered.
        BadData: It does not hold up in a process of its own, does not open, or does not give the answers it was
            registered with.
    """

    def read() -> Bundle:
        return open_bundle(settings, name, version, folder, digest)

    bundle = read()
    redacted = bundle.manifest.redacted
    redact = Redactor(redacted, privacy_key(settings)) if redacted else None
    prover.prove(bundle, f"Version {version} of '{name}'")
    try:
        model = ServedModel(
            name, version, digest, bundle.manifest, Session(lambda: read().served_bytes), folder, redact
        )
        _smoke(model)
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"Version {version} of '{name}' does not run: {' '.join(str(error).split())[:200]}") from error
    return model


def _smoke(model: ServedModel) -> None:
    """Give the smoke rows; compare with the answers in the manifest."""
    rows = [smoke.row for smoke in model.manifest.smoke]
    if not rows:
        return
    answer = np.asarray(model.answer(to_columns(rows, model.manifest)), dtype=np.float64).reshape(len(rows), -1)
    wanted = np.array([smoke.answer for smoke in model.manifest.smoke])
    what = f"Version {model.version} of '{model.name}'"
    if answer.shape != wanted.shape or not np.isfinite(answer).all():
        raise BadData(f"{what} answers its smoke rows in the wrong shape or with NaN.")
    if (np.abs(answer - wanted) > SMOKE_TOLERANCE * (1 + np.abs(wanted))).any():
        raise BadData(f"{what} does not give the answers it was registered with.")
