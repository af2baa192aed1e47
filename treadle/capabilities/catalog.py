"""The catalog of ready models: which there are, where their weights come from, what they may be used for, how good they are.

`catalog.yaml` beside this file is what we ship; `.treadle/ready/catalog.yaml` holds what an installation added.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from treadle.errors import BadData, NotFound, nearest
from treadle.settings import Settings

SHIPPED = Path(__file__).parent / "catalog.yaml"
Extra = Literal["vision", "language", "speech"]
Runtime = Literal["onnxruntime", "transformers", "ctranslate2", "python"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PackageSource(_Part):
    """Weights inside an installed Python package."""

    kind: Literal["package"]
    package: str
    """Its name in the package index; `treadle` is what this repository ships, `folder` then from its root."""
    version: str
    """The version whose digest is known; another one is taken when its files are the same."""
    folder: str = "."
    """Where the files are, relative to site-packages."""
    files: tuple[str, ...]
    """The files that are read, relative to the folder."""
    extra: Extra
    """The extra of ours that installs it, or what opens it."""
    needs: tuple[str, ...] = ()
    """Other packages without which the files cannot be opened, as far as the package does not bring them itself."""
    alone: bool = False
    """The package also asks for what this does not need: it is installed without, and by no extra."""


class HubSource(_Part):
    """A Hugging Face model, downloaded once; or a local folder of the same form."""

    kind: Literal["hub"]
    id: str
    """As the hub names it, `owner/name`; or the path of a folder."""
    revision: str | None = None
    """The commit, 40 hex digits; `None` until it is installed, and for a folder."""
    files: tuple[str, ...] = ()
    """The files that are read; filled in when it is installed."""


class SystemSource(_Part):
    """What the operating system's packages bring; they are updated and verified there."""

    kind: Literal["system"]
    package: str
    """As `apt-get install` takes it; several with a space between."""
    folder: str
    """Where its files are, from the root."""
    files: tuple[str, ...]
    """Files that are there when it is installed."""


class TrainedSource(_Part):
    """A model that this platform trained: whichever version of it is champion answers."""

    kind: Literal["yours"]
    project: str
    """Its name in the registry."""
    files: tuple[str, ...] = ()
    """None here: a champion's bundle names its own."""


class Measured(_Part):
    """A figure, and what it was measured on."""

    metric: str
    value: float
    on: str


class Entry(_Part):
    """One model for one capability."""

    capability: str
    model: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Its name here, which callers may ask for and every answer tells."""
    version: str
    source: Annotated[PackageSource | HubSource | SystemSource | TrainedSource, Field(discriminator="kind")]
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the files, see `treadle.capabilities.sources.digest_of`; `None` for what is not installed yet."""
    licence: str
    """Of the weights, as SPDX writes it."""
    size_bytes: int
    memory_mb: int = 512
    """What it needs when loaded, roughly: room is made for so much."""
    languages: tuple[str, ...] = ()
    """ISO 639-1; empty for what has none, `mul` for very many."""
    runtime: Runtime
    quality: tuple[Measured, ...] = ()
    speed: tuple[Measured, ...] = ()
    weak: bool = False
    """It answers honestly, but often wrongly: the figures say how often."""
    research_only: bool = False
    """Its licence forbids most uses: never a default."""
    note: str = ""
    default: bool = False
    """In an installation's own catalog: it answers before those that we ship."""


def read_catalog(settings: Settings) -> tuple[Entry, ...]:
    """All entries: the installation's own defaults, those that we ship, the installation's others.

    Raises:
        BadData: The installation's catalog cannot be read; the message names the entry.
    """
    own = _read(own_catalog(settings))
    return (*(e for e in own if e.default), *_shipped(), *(e for e in own if not e.default))


def own_catalog(settings: Settings) -> Path:
    """The file of what this installation added."""
    return settings.ready_dir / "catalog.yaml"


def entries_of(capability: str, settings: Settings) -> tuple[Entry, ...]:
    """The models for a capability, in the order in which they are tried."""
    return tuple(e for e in read_catalog(settings) if e.capability == capability)


def add_entry(entry: Entry, settings: Settings) -> None:
    """Write an entry into the installation's catalog, in place of one of the same capability and model."""
    path = own_catalog(settings)
    kept = [e for e in _read(path) if (e.capability, e.model) != (entry.capability, entry.model)]
    _write(path, [*kept, entry])


def _write(path: Path, entries: Iterable[Entry]) -> None:
    rows = [e.model_dump(mode="json", exclude_defaults=True) for e in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), encoding="utf-8")
    fresh.replace(path)


def remove_entry(capability: str, model: str, settings: Settings) -> Entry:
    """Take an entry out of the installation's catalog; its files stay.

    Raises:
        NotFound: The installation did not add it.
    """
    own = _read(own_catalog(settings))
    gone = [e for e in own if (e.capability, e.model) == (capability, model)]
    if not gone:
        names = [e.model for e in own if e.capability == capability]
        raise NotFound(
            f"'{model}' was not added here for {capability}.{nearest(model, names)} Added: {', '.join(names) or 'none'}."
        )
    _write(own_catalog(settings), [e for e in own if e is not gone[0]])
    return gone[0]


def choose(entries: Iterable[Entry], model: str | None) -> list[Entry]:
    """Those that may answer: the one that is asked for, or all that may be a default; what was trained here answers by name.

    Raises:
        NotFound: There is no such model for the capability.
    """
    known = list(entries)
    if model is None:
        return [e for e in known if not e.research_only and not isinstance(e.source, TrainedSource)]
    found = [e for e in known if e.model == model]
    if not found:
        names = sorted({e.model for e in known})
        raise NotFound(f"No model of that name for this.{nearest(model, names)} Known: {', '.join(names) or 'none'}.")
    return found


@cache
def _shipped() -> tuple[Entry, ...]:
    return _read(SHIPPED)


def _read(path: Path) -> tuple[Entry, ...]:
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except FileNotFoundError:
        return ()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(rows, list):
        raise BadData(f"{path} is not a list of entries.")
    entries = []
    for number, row in enumerate(rows):
        try:
            entries.append(Entry.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadData(f"{path}, entry {number}: {place}: {first['msg']}.") from error
    return tuple(entries)
