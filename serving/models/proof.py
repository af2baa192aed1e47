"""The proof of a version before it is opened among those that serve: it answers odd rows in a process that can be killed.

What was proved once by this installation and this onnxruntime is remembered in `.treadle/proofs/`.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
import onnxruntime

from serving.answering.decode import to_columns
from serving.models.isolated import Isolated, IsolatedFailure
from treadle.errors import BadData
from treadle.models.bundle import Bundle, Manifest
from treadle.models.packing import Packer
from treadle.settings import Settings

log = logging.getLogger("treadle.serving")

UNKNOWN = "a category that nobody has seen"
BATCH = 100
REFUSED_S = 600.0
RUNTIME = f"onnxruntime {onnxruntime.__version__}"

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """Rows that a version must answer, and what they are called when it does not."""

    what: str
    columns: Columns


class Note(msgspec.Struct, frozen=True):
    """How a proof ended.

    Attributes:
        runtime: What ran it; another one proves anew.
        refused: Why the version is refused; `None` if it may be opened.
    """

    runtime: str
    refused: str | None = None


_read_note = msgspec.json.Decoder(Note).decode


class Prover:
    """Proves versions, all of one refresh in one child. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.state_dir / "proofs"
        self._lock = threading.Lock()
        self._child: Isolated | None = None

    def prove(self, bundle: Bundle, what: str) -> None:
        """Return if a version may be opened.

        Args:
            bundle: Verified.
            what: What errors call it.

        Raises:
            BadData: It raises, takes too long, wants too much memory, or gives no finite answer of the right shape.
            Unavailable: There is no process to try it in, as on a machine that is too busy; that is held against nobody.
        """
        note = self._noted(bundle.digest)
        if note is None:
            with self._lock, self._alone():  # another worker may have proved it while this one waited
                note = self._noted(bundle.digest) or self._put_to_proof(bundle)
        if note.refused is not None:
            raise BadData(f"{what} is refused: {note.refused}")

    def _noted(self, digest: str) -> Note | None:
        """How an earlier proof ended, if that still holds. A refusal is looked into again later: it may have been memory."""
        path = self._folder / digest
        try:
            note = _read_note(path.read_bytes())
            old = note.refused is not None and time.time() - path.stat().st_mtime > REFUSED_S
        except (OSError, msgspec.MsgspecError):
            return None
        return note if note.runtime == RUNTIME and not old else None

    def _put_to_proof(self, bundle: Bundle) -> Note:
        try:
            self._try(bundle)
            note = Note(RUNTIME)
        except IsolatedFailure as error:
            note = Note(RUNTIME, str(error))
        try:
            draft = self._folder / f"{bundle.digest}.{os.getpid()}.tmp"
            draft.write_bytes(msgspec.json.encode(note))
            draft.rename(self._folder / bundle.digest)
        except OSError as error:  # it holds all the same
            log.warning("a proof was not noted and will be made again: %s", error)
        return note

    def rest(self) -> None:
        """Let the child go until there is something to prove."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
                self._child = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One worker of this installation at a time, as far as the disk allows: the others find it proved."""
        with ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = held.enter_context((self._folder / "lock").open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                log.warning("a version is proved without a lock: %s", error)
            yield

    def _try(self, bundle: Bundle) -> None:
        if self._child is None or not self._child.lives:
            self._child = Isolated(self._settings.isolated_memory_bytes)
        child = self._child
        child.arrive()
        end = time.monotonic() + self._settings.proof_s
        child.load(bundle.served_bytes, end - time.monotonic())
        packer = Packer(bundle.manifest.packed) if bundle.manifest.packed is not None else None
        for trial in _trials(bundle.manifest):
            try:
                inputs = trial.columns if packer is None else packer.pack(trial.columns)
                values, _ = child.answer(inputs, max(0.001, end - time.monotonic()))
            except IsolatedFailure as error:
                raise IsolatedFailure(error.kind, f"Given {trial.what}: {error}") from None
            check_answer(bundle.manifest, values, trial.what)


def check_answer(manifest: Manifest, values: np.ndarray, what: str) -> None:
    """Refuse an answer that no caller should get.

    Args:
        manifest: Says how many classes there are.
        values: As the child gave them, (n,) or (n, n_classes).
        what: What the rows are called.

    Raises:
        IsolatedFailure: It has the wrong width, or holds NaN or infinity.
    """
    wanted = 1 if manifest.classes is None else len(manifest.classes)
    flat = values.ndim == 1
    if flat != (manifest.classes is None) or (not flat and values.shape[1] != wanted):
        raise IsolatedFailure("shape", f"Given {what}: its answer has shape {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise IsolatedFailure("nonfinite", f"Given {what}: its answer is not finite.")


def _trials(manifest: Manifest) -> Iterator[Trial]:
    """The smoke rows; each number unknown and each category a new one; one row alone; a hundred at once."""
    rows = [smoke.row for smoke in manifest.smoke]
    if not rows:
        return
    smoke = to_columns(rows, manifest)
    yield Trial("its smoke rows", smoke)
    yield Trial("one row", {name: values[:1] for name, values in smoke.items()})
    for column in manifest.columns:
        odd = np.array([UNKNOWN], dtype=object) if column.kind == "category" else np.array([math.nan])
        said = "a new category" if column.kind == "category" else "null"
        yield Trial(f"{said} in '{column.name}'", {n: v[:1] for n, v in smoke.items()} | {column.name: odd})
    yield Trial(f"{BATCH} rows", {name: np.resize(values, BATCH) for name, values in smoke.items()})
