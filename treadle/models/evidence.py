"""What a version leaves behind for later judgements: the rows it has seen, its reference, the project's frozen holdout.

Kept beside the bundles and never inside them, since a bundle travels to where the training rows must not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from treadle.settings import Settings


class Evidence:
    """The evidence of one project's versions, below `mlruns/evidence/<project>/`."""

    def __init__(self, settings: Settings, project: str) -> None:
        self.folder = settings.mlruns_dir / "evidence" / project

    def holdout(self) -> set[str] | None:
        """Row ids of the frozen holdout; `None` before the first version."""
        path = self.folder / "holdout.json"
        return set(json.loads(path.read_text())) if path.exists() else None

    def freeze(self, rows: Iterable[str]) -> None:
        """Freeze the holdout, once: later calls change nothing."""
        if self.holdout() is None:
            _write(self.folder / "holdout.json", sorted(rows))

    def seen(self, version: int) -> set[str]:
        """Row ids that a version learned from; empty if its evidence was removed."""
        path = self.of(version) / "seen.json"
        return set(json.loads(path.read_text())) if path.exists() else set()

    def keep_seen(self, version: int, rows: Iterable[str]) -> None:
        """Remember which rows a version learned from."""
        _write(self.of(version) / "seen.json", sorted(rows))

    def keep_rehearsal(self, version: int, figures: dict[str, Any]) -> None:
        """Remember how a version's rehearsal did; see `treadle.learning.warm_start.Rehearsed`."""
        _write(self.of(version) / "rehearsal.json", figures)

    def rehearsal(self, version: int) -> dict[str, Any] | None:
        """What `keep_rehearsal` wrote; `None` if it is not there."""
        path = self.of(version) / "rehearsal.json"
        return json.loads(path.read_text()) if path.exists() else None

    def keep_history(self, version: int, figures: dict[str, Any]) -> None:
        """Remember how much of the past a version learned from, and what else was tried."""
        _write(self.of(version) / "history.json", figures)

    def history(self, version: int) -> dict[str, Any] | None:
        """What `keep_history` wrote; `None` if it is not there."""
        path = self.of(version) / "history.json"
        return json.loads(path.read_text()) if path.exists() else None

    def newest_history(self) -> dict[str, Any] | None:
        """The same of the newest version that has it, whether it became champion or was turned down."""
        folders = self.folder.iterdir() if self.folder.is_dir() else ()
        versions = sorted((int(folder.name) for folder in folders if folder.name.isdigit()), reverse=True)
        return next((found for version in versions if (found := self.history(version)) is not None), None)

    def of(self, version: int) -> Path:
        """The folder of one version."""
        return self.folder / str(version)

    def forget(self) -> None:
        """Remove all of it: the project starts anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, content: list[str] | dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
