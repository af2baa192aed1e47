"""Where a model's files are, and whether they are what the catalog says. Nothing is downloaded here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from treadle.capabilities.catalog import (
    Entry,
    HubSource,
    PackageSource,
    SystemSource,
    TrainedSource,
    choose,
    entries_of,
)
from treadle.errors import TreadleError
from treadle.settings import CHECKOUT, Settings

REFUSED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".py", ".msgpack", ".joblib")
"""Endings of files that can run code when they are opened, or are code; a hub model's are never read."""


class NotInstalled(TreadleError):
    """A capability whose model is not here."""

    status = 501
    title = "Not installed"


class Tampered(TreadleError):
    """A model whose files are not those that the catalog knows: they are not opened."""

    status = 503
    exit_code = 4
    title = "Changed model"


def pick(capability: str, model: str | None, settings: Settings) -> tuple[Entry, Path]:
    """The model that answers, and its files: the one asked for, or the first of the catalog that is installed.

    Of one that was trained here it is the champion of this moment, and its bundle.

    Raises:
        NotFound: There is no such model, or no champion.
        DoesNotFit: The champion cannot be this capability any more.
        NotInstalled: It, or none of them, is here; the message has the command that installs it.
    """
    entries = choose(entries_of(capability, settings), model)
    for entry in entries:
        if isinstance(entry.source, TrainedSource):
            return champion_here(entry, settings)
        folder = locate(entry, settings)
        if folder is not None:
            return entry, folder
    if not entries:
        raise NotInstalled(
            f"No model for {capability} may be a default; `treadle ready install {capability}` tells more."
        )
    raise NotInstalled(f"{entries[0].model} is not installed: {how_to_install(entries[0])}")


def champion_here(entry: Entry, settings: Settings) -> tuple[Entry, Path]:
    """An entry of what was trained here as it is now, and its champion's bundle.

    Raises:
        NotFound: It has no champion.
        DoesNotFit: The champion cannot be this capability.
        NotInstalled: The embedder before it is not here.
    """
    from treadle.capabilities.trained import as_it_is

    now, champion, embedder = as_it_is(entry, settings)
    if locate(embedder, settings) is None:
        raise NotInstalled(
            f"{embedder.model}, which '{entry.model}' learned from, is not installed: {how_to_install(embedder)}"
        )
    return now, champion.folder


def how_to_install(entry: Entry) -> str:
    """The command that brings a model here.

    >>> from treadle.capabilities.catalog import read_catalog
    >>> how_to_install(next(e for e in read_catalog(Settings()) if e.capability == "embed-text"))
    "pip install -e '.[language]', or `treadle ready install embed-text`."
    """
    if isinstance(entry.source, TrainedSource):
        return f"`treadle train {entry.source.project}`."
    if isinstance(entry.source, SystemSource):
        return f"apt-get install {entry.source.package}."
    if isinstance(entry.source, PackageSource) and not entry.source.alone:
        return f"pip install -e '.[{entry.source.extra}]', or `treadle ready install {entry.capability}`."
    return f"`treadle ready install {entry.capability} --model {entry.model}`."


def is_installed(entry: Entry, settings: Settings) -> bool:
    """Whether its files are here; of one that was trained here, whether its champion can answer."""
    if not isinstance(entry.source, TrainedSource):
        return locate(entry, settings) is not None
    try:
        champion_here(entry, settings)
    except TreadleError:
        return False
    return True


def as_it_is_now(entry: Entry, settings: Settings) -> Entry:
    """The entry with the version of its champion, if it is one of what was trained here and has one."""
    from treadle.capabilities.trained import as_it_is

    if not isinstance(entry.source, TrainedSource):
        return entry
    try:
        return as_it_is(entry, settings)[0]
    except TreadleError as error:
        return entry.model_copy(update={"note": str(error)})


def locate(entry: Entry, settings: Settings) -> Path | None:
    """The folder of a model's files, if all of them are here; `None` for what was trained here, whose bundles change."""
    source = entry.source
    folder = _folder(source, settings)
    if folder is None or not source.files or any(not (folder / name).is_file() for name in source.files):
        return None
    return folder


def _folder(source: PackageSource | HubSource | SystemSource | TrainedSource, settings: Settings) -> Path | None:
    if isinstance(source, TrainedSource):
        return None
    if isinstance(source, SystemSource):
        return Path("/") / source.folder
    return _in_package(source) if isinstance(source, PackageSource) else hub_folder(source, settings)


def hub_folder(source: HubSource, settings: Settings) -> Path | None:
    """Where a hub model is kept; a local folder stays where it is."""
    if source.revision is None:
        folder = Path(source.id).expanduser()
        return folder if folder.is_absolute() else None
    return settings.ready_dir / "hub" / source.id.replace("/", "--") / source.revision


def _in_package(source: PackageSource) -> Path | None:
    if not all(map(has_package, source.needs)):
        return None
    if source.package == "treadle":  # what this repository itself ships
        return CHECKOUT / source.folder
    try:
        found = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        return None
    return Path(str(found.locate_file(source.folder)))


def has_package(name: str) -> bool:
    """Whether a Python package is installed, by its name in the package index."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def verify(entry: Entry, folder: Path) -> None:
    """Read a model's files once, and refuse others than the catalog knows.

    Raises:
        Tampered: They differ.
    """
    # CTranslate2's model.bin is tensors and nothing else; everybody else's .bin is a pickle.
    tensors = ("model.bin",) if entry.runtime == "ctranslate2" else ()
    refuse_code(name for name in entry.source.files if name not in tensors)
    if entry.digest is not None and digest_of(folder, entry.source.files) != entry.digest:
        raise Tampered(
            f"The files of {entry.model} are not those that the catalog knows; install {entry.version} again."
        )


def refuse_code(files: Iterable[str]) -> None:
    """Refuse files that run code when they are opened.

    Raises:
        Tampered: There is one, or one outside of its folder.
    """
    for name in files:
        if name.endswith(REFUSED) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise Tampered(f"'{name}' could run code when it is opened; only safetensors and ONNX are read.")


def digest_of(folder: Path, files: Iterable[str]) -> str:
    """SHA-256 over the names and the SHA-256 of the files, names in order."""
    whole = hashlib.sha256()
    for name in sorted(files):
        with (folder / name).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def made_folder(entry: Entry, settings: Settings) -> Path:
    """Where `prepare` puts what it makes of a model."""
    return settings.ready_dir / "made" / f"{entry.model}-{(entry.digest or 'local')[:16]}"


def missing_guest(library: str, extra: str) -> NotInstalled:
    """The error for a library that an extra installs."""
    return NotInstalled(f"This needs {library}: pip install -e '.[{extra}]'.")
