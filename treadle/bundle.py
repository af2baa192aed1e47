"""A bundle: what serving needs of a version and nothing more. ONNX, a manifest, and the digests that tie them together.

Immutable once written. Knows nothing of onnxruntime, pandas or MLflow; serving imports it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from treadle.errors import BadData, Conflict

MANIFEST = "manifest.json"
MODEL = "model.onnx"
FORMAT = 1


class ManifestColumn(msgspec.Struct, frozen=True):
    """One feature column, as a caller must send it."""

    name: str
    kind: str
    nullable: bool = False
    categories: tuple[str, ...] | None = None
    tokens: tuple[str, str] | None = None
    format: str | None = None
    low: float | None = None
    high: float | None = None
    example: Any = None


class Smoke(msgspec.Struct, frozen=True):
    """A row and the answer that the version must give to it before it may serve.

    Attributes:
        row: Column values as a caller would send them.
        answer: One number for regression, a probability a class otherwise.
    """

    row: dict[str, Any]
    answer: tuple[float, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    format: int = FORMAT
    model: str
    problem: str
    family: str
    columns: tuple[ManifestColumn, ...]
    target: str
    time: str | None = None
    classes: tuple[str, ...] | None = None
    metric: str
    metrics: dict[str, float] = {}
    files: dict[str, str] = {}
    smoke: tuple[Smoke, ...] = ()
    data_digest: str = ""
    project_digest: str = ""
    data_until: str | None = None
    created_at: str = ""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and verified.

    Attributes:
        digest: SHA-256 of the manifest, which holds the digests of the other files.
    """

    manifest: Manifest
    onnx_bytes: bytes
    digest: str


def write_bundle(folder: Path, onnx_bytes: bytes, manifest: Manifest) -> str:
    """Write a bundle, whole or not at all.

    Args:
        folder: Where it shall be; must not exist.
        onnx_bytes: The model.
        manifest: Everything else; its `files` are filled in here.

    Returns:
        The bundle's digest.

    Raises:
        Conflict: `folder` exists: bundles never change.
    """
    if folder.exists():
        raise Conflict(f"{folder} exists already; a bundle never changes, register a new version.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        complete = msgspec.structs.replace(manifest, files={MODEL: hashlib.sha256(onnx_bytes).hexdigest()})
        text = msgspec.json.format(msgspec.json.encode(complete), indent=1)
        _write_synced(temporary / MODEL, onnx_bytes)
        _write_synced(temporary / MANIFEST, text)
        temporary.chmod(0o755)
        temporary.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return hashlib.sha256(text).hexdigest()


def read_bundle(folder: Path, expected_digest: str | None = None) -> Bundle:
    """Read a bundle and verify every byte of it before anything is made of them.

    Raises:
        BadData: A file is missing, is a link, was changed, or the manifest is not one.
    """
    text = _read_plain(folder / MANIFEST)
    digest = hashlib.sha256(text).hexdigest()
    if expected_digest is not None and digest != expected_digest:
        raise BadData(f"{folder} was changed: its manifest has digest {digest[:12]}, not {expected_digest[:12]}.")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BadData(f"{folder / MANIFEST} is not a manifest: {error}.") from error
    if manifest.format != FORMAT or MODEL not in manifest.files:
        raise BadData(f"{folder} has format {manifest.format}; this Treadle reads format {FORMAT}.")
    onnx_bytes = _read_plain(folder / MODEL)
    if hashlib.sha256(onnx_bytes).hexdigest() != manifest.files[MODEL]:
        raise BadData(f"{folder / MODEL} was changed: its digest is not the manifest's.")
    return Bundle(manifest, onnx_bytes, digest)


def _read_plain(path: Path) -> bytes:
    """Read a file that is a file; a link could lead anywhere."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except OSError as error:
        raise BadData(f"Cannot read {path}: {error.strerror}. Register the version again.") from error


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
