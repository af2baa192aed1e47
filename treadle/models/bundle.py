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
from treadle.models.signing import Keyring, Sign

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODEL = "model.onnx"
PACKED = "packed.onnx"
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


class PackedInputs(msgspec.Struct, frozen=True):
    """What the packed model takes: two float64 matrices for all columns together; one without columns is no input.

    Attributes:
        numbers: The columns of `numbers` (n, k): numbers, booleans and epoch seconds, NaN for missing.
        levels: The columns of `codes` (n, m) with their categories. A category is its index, any other text the number
            after them, missing the next.
    """

    numbers: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself.

    Attributes:
        version: The number under which it was registered; `None` in bundles from before there were signatures.
        files: SHA-256 of every other file.
        background: Rows that it learned from, as a caller would send them; explanations compare with them. `()` in
            bundles from before there were explanations.
        packed: Inputs of the packed model, if the bundle has one.
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
    packed: PackedInputs | None = None
    data_digest: str = ""
    project_digest: str = ""
    data_until: str | None = None
    created_at: str = ""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and verified.

    Attributes:
        onnx_bytes: The model that takes columns.
        digest: SHA-256 of the manifest, which holds the digests of the other files.
        packed_bytes: The same model behind packed inputs, if there is one.
    """

    manifest: Manifest
    onnx_bytes: bytes
    digest: str
    packed_bytes: bytes | None = None

    @property
    def served_bytes(self) -> bytes:
        """The form that answers where speed counts."""
        return self.packed_bytes or self.onnx_bytes


@dataclass(frozen=True)
class Packed:
    """A model behind packed inputs; serving spends a fifth of the time on these that single columns take it."""

    onnx_bytes: bytes
    inputs: PackedInputs


def write_bundle(folder: Path, onnx_bytes: bytes, manifest: Manifest, sign: Sign, packed: Packed | None = None) -> str:
    """Write a bundle, whole or not at all.

    Args:
        folder: Where it shall be; must not exist.
        onnx_bytes: The model.
        manifest: Everything else; its `files` are filled in here.
        sign: Signs the manifest, which holds the digests of the other files.
        packed: The same model behind packed inputs.

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
        contents = {MODEL: onnx_bytes} | ({PACKED: packed.onnx_bytes} if packed else {})
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        complete = msgspec.structs.replace(manifest, files=digests, packed=packed.inputs if packed else None)
        text = msgspec.json.format(msgspec.json.encode(complete), indent=1)
        for name, content in contents.items():
            _write_synced(temporary / name, content)
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
        contents = _read_files(folder, opened, manifest)
        return Bundle(manifest, contents[MODEL], digest, contents.get(PACKED) if manifest.packed else None)


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


def _read_files(folder: Path, opened: int, manifest: Manifest) -> dict[str, bytes]:
    """The files, after a look that nothing else is there and that every one has its digest."""
    extra = _names(opened) - {MANIFEST, SIGNATURE, *manifest.files}
    if extra:
        raise BrokenBundle(
            f"{folder} holds {len(extra)} file(s) that were not registered; remove what is not in its manifest."
        )
    contents = {name: _read_plain(folder, opened, name, MOST_MODEL_BYTES) for name in manifest.files}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[name]:
            raise BrokenBundle(f"{folder / name} was changed: its digest is not the manifest's.")
    return contents


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
