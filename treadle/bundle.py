"""A bundle: what serving needs of a version and nothing more. ONNX, a manifest with the digests of all, and its signature.

Immutable once written. Knows nothing of onnxruntime, pandas or MLflow; serving imports it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from treadle.errors import BrokenBundle, Conflict, Untrusted
from treadle.signing import Keyring, Sign

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.onnx"
FORMAT = 1
MOST_MANIFEST_BYTES = 16 * 1024 * 1024
MOST_MODEL_BYTES = 1024 * 1024 * 1024


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
    """What a bundle says of itself.

    Attributes:
        version: The number under which it was registered; `None` in bundles from before there were signatures.
        files: SHA-256 of every other file.
        background: Rows that it learned from, as a caller would send them; explanations compare with them. `()` in
            bundles from before there were explanations.
    """

    format: int = FORMAT
    model: str
    version: int | None = None
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
    redacted: dict[str, str] = {}
    background: tuple[dict[str, Any], ...] = ()
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


def write_bundle(folder: Path, onnx_bytes: bytes, manifest: Manifest, sign: Sign) -> str:
    """Write a bundle, whole or not at all.

    Args:
        folder: Where it shall be; must not exist.
        onnx_bytes: The model.
        manifest: Everything else; its `files` are filled in here.
        sign: Signs the manifest, which holds the digests of the other files.

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
        _write_synced(temporary / SIGNATURE, sign(text))
        temporary.chmod(0o755)
        temporary.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return hashlib.sha256(text).hexdigest()


def sign_bundle(folder: Path, digest: str, sign: Sign) -> None:
    """Sign a bundle that was written before there were signatures, or by a key that is not trusted any more.

    Raises:
        BrokenBundle: It is not what was registered under `digest`.
    """
    with _opened(folder) as opened:
        text = _read_plain(folder, opened, MANIFEST, MOST_MANIFEST_BYTES)
        _refuse_other_digest(folder, text, digest)
        _read_files(folder, opened, _decode(folder, text))
    draft = folder.parent / f".{folder.name}-{os.getpid()}.sig"
    _write_synced(draft, sign(text))
    draft.rename(folder / SIGNATURE)
    _sync_folder(folder)


def read_bundle(folder: Path, digest: str, keyring: Keyring) -> Bundle:
    """Read a bundle and verify every byte of it before anything is made of them.

    Args:
        folder: Where it is.
        digest: SHA-256 that its manifest must have, from the ledger.
        keyring: Who may have signed it.

    Raises:
        Untrusted: It has no signature, or none by a trusted key.
        BrokenBundle: A file is missing, is a link, was added or changed, or the manifest is not one.
    """
    with _opened(folder) as opened:
        text = _read_plain(folder, opened, MANIFEST, MOST_MANIFEST_BYTES)
        _refuse_other_digest(folder, text, digest)
        if SIGNATURE not in _names(opened):
            raise Untrusted(
                f"{folder} has no signature; if you know where it comes from, `treadle sign MODEL VERSION`."
            )
        try:
            keyring.verify(text, _read_plain(folder, opened, SIGNATURE, 1024))
        except Untrusted as error:
            raise Untrusted(f"{folder}: {error}") from None
        manifest = _decode(folder, text)
        return Bundle(manifest, _read_files(folder, opened, manifest), digest)


def _refuse_other_digest(folder: Path, text: bytes, expected: str) -> None:
    digest = hashlib.sha256(text).hexdigest()
    if digest != expected:
        raise BrokenBundle(f"{folder} was changed: its manifest has digest {digest[:12]}, not {expected[:12]}.")


def _decode(folder: Path, text: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BrokenBundle(f"{folder / MANIFEST} is not a manifest: {error}.") from error
    if manifest.format != FORMAT or MODEL not in manifest.files or any("/" in name for name in manifest.files):
        raise BrokenBundle(f"{folder} has format {manifest.format}; this Treadle reads format {FORMAT}.")
    return manifest


def _read_files(folder: Path, opened: int, manifest: Manifest) -> bytes:
    """The model, after a look that nothing else is there and that every file has its digest."""
    extra = _names(opened) - {MANIFEST, SIGNATURE, *manifest.files}
    if extra:
        raise BrokenBundle(
            f"{folder} holds {len(extra)} file(s) that were not registered; remove what is not in its manifest."
        )
    contents = {name: _read_plain(folder, opened, name, MOST_MODEL_BYTES) for name in manifest.files}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[name]:
            raise BrokenBundle(f"{folder / name} was changed: its digest is not the manifest's.")
    return contents[MODEL]


def _names(opened: int) -> set[str]:
    return set(os.listdir(opened))


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder's own handle: what is read through it cannot be exchanged for another folder meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BrokenBundle(f"Cannot read {folder}: {error.strerror}. Register the version again.") from error
    try:
        yield handle
    finally:
        os.close(handle)


def _read_plain(folder: Path, opened: int, name: str, most: int) -> bytes:
    """Read a file that is a file, not a link that could lead anywhere, nor a pipe that never ends."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened)
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
                raise BrokenBundle(f"{folder / name} is not a plain file of at most {most:,} bytes.")
            return file.read(most + 1)
    except OSError as error:
        raise BrokenBundle(f"Cannot read {folder / name}: {error.strerror}. Register the version again.") from error


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
