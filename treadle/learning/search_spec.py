"""What is asked of a search, as plain data and paths, so that a process that joins it needs nothing else.

Knows nothing of how the search is done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from treadle.project import Project
from treadle.settings import Settings

FEW_TRIALS = 6
"""So few trials end sooner in this process than others start."""


@dataclass(frozen=True)
class Start:
    """A point to try before the search chooses its own, such as the champion's."""

    family: str
    params: dict[str, Any]


@dataclass(frozen=True)
class SearchSpec:
    """A search, whole: the same spec continues the same study.

    Attributes:
        project: The project's name, for messages.
        folder: The study's folder; made when missing.
        snapshot: Parquet file of conformed rows, as `treadle.tables.data.snapshot` wrote it.
        split: JSON file with lists of row ids under `train` and `valid`.
        schema: JSON file of the schema.
        problem: The problem's name.
        metric: The name of the metric that decides.
        families: Names of the families, at least one.
        trials: Trials of the whole study, those of earlier sessions included.
        minutes: Wall-clock minutes of the whole study.
        workers: Processes at once; with 1 the search runs in this process, and an identical rerun gives identical
            trials.
        seed: Seed of the search and of every fit.
        start: What to try first; the defaults of every family follow.
        half_life_s: A row so many seconds older than the newest counts half; `None` counts all alike.
    """

    project: str
    folder: str
    snapshot: str
    split: str
    schema: str
    problem: str
    metric: str
    families: tuple[str, ...]
    trials: int = 30
    minutes: float = 5.0
    workers: int = 1
    seed: int = 0
    start: tuple[Start, ...] = ()
    half_life_s: float | None = None

    @classmethod
    def of(
        cls,
        project: Project,
        settings: Settings,
        *,
        snapshot: str,
        schema: str,
        split: str,
        trials: int | None = None,
        minutes: float | None = None,
        start: Iterable[Start | Mapping[str, Any]] = (),
        half_life_s: float | None = None,
    ) -> SearchSpec:
        """The search of a project on one snapshot, one schema and one split; what they hold names the study's folder.

        Args:
            project: Says families, metric, limits, workers and seed.
            settings: Say where studies are.
            snapshot: Path of the Parquet file; a snapshot's name is its digest.
            schema: Path of the JSON file.
            split: Path of the JSON file with `train` and `valid`.
            trials: Instead of the project's.
            minutes: Instead of the project's.
            start: Points to try first, also as `{"family": …, "params": {…}}`.
            half_life_s: Seconds of age that halve what a row counts.
        """
        from treadle.problems import load_problem, pick_metric

        content = [Path(path).read_bytes() for path in (schema, split)]
        content += [] if half_life_s is None else [str(half_life_s).encode()]
        key = study_key(Path(snapshot).name.encode(), project.digest.encode(), *content)
        trials = trials or project.tune.trials
        return cls(
            project=project.name,
            folder=str(settings.state_dir / "studies" / project.name / key),
            snapshot=str(snapshot),
            split=str(split),
            schema=str(schema),
            problem=project.problem,
            metric=pick_metric(load_problem(project.problem), project.promote.metric),
            families=project.train.families,
            trials=trials,
            minutes=minutes or project.tune.minutes,
            workers=1 if trials <= FEW_TRIALS else project.tune.workers,
            seed=project.split.seed,
            start=tuple(point if isinstance(point, Start) else Start(**point) for point in start),
            half_life_s=half_life_s,
        )

    def save(self, path: Path) -> None:
        """Write as JSON; readers see the old file or the new one."""
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(self), indent=1, default=to_plain), encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> SearchSpec:
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        start = tuple(Start(**point) for point in content.pop("start"))
        return cls(**content | {"families": tuple(content["families"]), "start": start})


def study_key(*parts: bytes) -> str:
    """A short digest of what a study depends on.

    >>> study_key(b"a", b"bc") == study_key(b"ab", b"c")
    False
    """
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


def to_plain(value: object) -> object:
    """Turn numpy scalars and arrays into what JSON knows; for `json.dumps(default=…)`.

    >>> import numpy as np
    >>> json.dumps({"rounds": np.int64(3)}, default=to_plain)
    '{"rounds": 3}'
    """
    for method in ("item", "tolist"):
        try:
            return getattr(value, method)()
        except (AttributeError, ValueError):
            continue
    return str(value)
