"""Writes requirements-serving.lock, the part of requirements.lock that the serving image needs: `python -m console.lock`.

The versions are those of requirements.lock; which packages are needed is asked of the installed packages themselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from treadle.errors import BadData
from treadle.settings import CHECKOUT

LOCK = CHECKOUT / "requirements.lock"
SERVING_LOCK = CHECKOUT / "requirements-serving.lock"
EXTRAS = ("serving", "postgresql")


def serving_lock() -> str:
    """The file's text.

    Raises:
        BadData: A package that is needed is not in requirements.lock.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]): line for line in lines}
    needed = closure(wanted)
    missing = sorted(needed - pinned.keys())
    if missing:
        raise BadData(f"requirements.lock does not have {', '.join(missing)}; `make lock` writes it.")
    return "".join(f"{pinned[name]}\n" for name in sorted(needed))


def closure(lines: Iterable[str]) -> set[NormalizedName]:
    """Canonical names of these requirements and of everything that they need here, with their extras."""
    seen: set[tuple[NormalizedName, str]] = set()
    waiting = [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in metadata.requires(name) or []]
    return {name for name, _ in seen}


if __name__ == "__main__":
    SERVING_LOCK.write_text(serving_lock(), encoding="utf-8")
