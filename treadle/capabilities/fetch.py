"""Brings a Hugging Face model here, once: pinned to a commit, only files that run no code, its digest written down."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from treadle.capabilities.catalog import Entry, HubSource, add_entry
from treadle.capabilities.sources import digest_of, hub_folder, missing_guest
from treadle.errors import BadData, NotFound, Unavailable
from treadle.settings import Settings

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""Files that are taken, of the top folder; of the others some could run code, and the rest is not needed."""
ELSE = ("*.onnx", "onnx/model.onnx", *WANTED[1:])
"""Of a model that has no safetensors."""
WEIGHTS = (".safetensors", ".onnx")


@dataclass(frozen=True)
class Found:
    """A model on the hub, or in a folder.

    Attributes:
        id: As the hub names it, or the folder.
        revision: The commit; `None` for a folder.
        files: What is taken, with sizes in bytes.
        licence: As its card says; `unknown` where it does not.
    """

    id: str
    revision: str | None
    files: dict[str, int]
    licence: str

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(self.files.values())


def look_up(name: str, revision: str | None) -> Found:
    """What a model on the hub, or in a local folder, consists of.

    Raises:
        NotFound: There is none of that name.
        BadData: It has no weights in a form that is read.
        Unavailable: The hub cannot be reached.
    """
    folder = Path(name).expanduser()
    found = _in_folder(folder) if folder.is_dir() else _on_hub(name, revision)
    if not any(file.endswith(WEIGHTS) for file in found.files):
        raise BadData(f"'{name}' has no weights as safetensors or ONNX; others are not read.")
    return found


def _in_folder(folder: Path) -> Found:
    files = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return Found(str(folder.resolve()), None, _wanted(files), "unknown")


def _on_hub(name: str, revision: str | None) -> Found:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise missing_guest("huggingface_hub", "language") from None
    try:
        info: Any = HfApi().model_info(name, revision=revision, files_metadata=True)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise NotFound(f"The hub has no model '{name}' at that revision ({type(error).__name__}).") from error
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise Unavailable(f"The hub cannot be asked about '{name}': {' '.join(str(error).split())[:200]}") from error
    files = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    licence = (info.card_data or {}).get("license") if info.card_data else None
    return Found(name, info.sha, _wanted(files), str(licence or "unknown"))


def _wanted(files: dict[str, int]) -> dict[str, int]:
    """Those that are taken.

    >>> _wanted({"model.safetensors": 9, "pytorch_model.bin": 9, "config.json": 1, "onnx/model.onnx": 9, "code.py": 1})
    {'config.json': 1, 'model.safetensors': 9}
    """
    patterns = WANTED if any(name.endswith(".safetensors") for name in files) else ELSE
    return {
        name: size
        for name, size in sorted(files.items())
        if any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)
    }


def bring(entry: Entry, found: Found, settings: Settings) -> Entry:
    """Download a model, look at it, and write it into the installation's catalog.

    Args:
        entry: What is known of it; source, digest, licence and size are filled in.
        found: What `look_up` found.
        settings: The installation.

    Returns:
        The entry as it was written.

    Raises:
        Unavailable: The hub cannot be reached; nothing was written.
    """
    source = HubSource(kind="hub", id=found.id, revision=found.revision, files=tuple(found.files))
    folder = hub_folder(source, settings)
    if folder is None:
        raise BadData(f"'{found.id}' is neither a model of the hub nor a folder.")
    if found.revision is not None and not folder.is_dir():
        _download(source, folder)
    licence = entry.licence if found.licence == "unknown" else found.licence
    version = found.revision[:12] if found.revision else "local"
    known = {"source": source, "digest": digest_of(folder, source.files), "licence": licence, "version": version}
    made = entry.model_copy(update=known | {"size_bytes": found.size_bytes})
    add_entry(made, settings)
    return made


def _download(source: HubSource, folder: Path) -> None:
    """Get the files; the folder appears whole or not at all."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    fresh = folder.with_name(f".new-{folder.name}-{os.getpid()}")
    try:
        snapshot_download(source.id, revision=source.revision, allow_patterns=list(source.files), local_dir=fresh)
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise Unavailable(f"'{source.id}' could not be fetched: {' '.join(str(error).split())[:200]}") from error
    shutil.rmtree(fresh / ".cache", ignore_errors=True)
    fresh.replace(folder)
