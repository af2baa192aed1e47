"""One turn of the wheel: who asked, for which event time, and the folder where its steps leave their work.

The small values that steps hand to each other live here too: paths, ids and counts, never tables or models, so that a
retry is cheap and a run page shows what went in. Knows nothing of the steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from treadle.errors import BadData
from treadle.settings import Settings


@dataclass(frozen=True)
class Turn:
    """A train run in progress.

    Attributes:
        project: The project's name.
        run_id: The MLflow run that shows this turn.
        at: Event time of the turn, ISO 8601 in UTC; later labels are not known to it. `None` is now.
        reason: Why it was started, in plain words.
        fence: The number of the lease under which it may promote.
        is_step: Whether it is a step of a stream that is followed: one fit on all rows, with the champion's recipe and history.
    """

    project: str
    run_id: str
    at: str | None
    reason: str
    fence: int
    is_step: bool = False

    @property
    def moment(self) -> datetime:
        """Event time of the turn, aware, UTC."""
        return parse_moment(self.at) or datetime.now(UTC)

    def path(self, name: str) -> Path:
        """A file in the turn's own folder; the folder is made when first asked for."""
        folder = Settings().state_dir / "turns" / self.project / self.run_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def write(self, name: str, content: Any) -> Path:
        """Write `content` as JSON into the turn's folder."""
        path = self.path(name)
        path.write_text(json.dumps(content, default=str), encoding="utf-8")
        return path

    @property
    def updated(self) -> int | None:
        """The version that this turn's model is an update of, once it is fitted; `None` where it was fitted anew."""
        return self.read("fit.json")["update_of"]

    def read(self, name: str) -> Any:
        """Read what `write` left."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Rows:
    """A snapshot of conformed rows on disk.

    Attributes:
        path: The Parquet file.
        rows: Rows in it.
        digest: SHA-256 of its content.
        quarantined: Rows set aside so far, with their reasons in the quarantine file.
        findings: What a person should know of the table before the model is believed, a sentence each: leaks, repeats.
    """

    path: str
    rows: int
    digest: str
    quarantined: int = 0
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """How many labelled rows each part of the split has; the row ids are in the turn's `split.json`."""

    path: str
    train: int
    valid: int
    test: int
    holdout: int
    how: str


@dataclass(frozen=True)
class Best:
    """What the search found: a family, its parameters, and how many trials it took; the score is NaN where nothing was searched."""

    family: str
    params: dict[str, Any]
    score: float
    done: int
    pruned: int


@dataclass(frozen=True)
class Scores:
    """How the rehearsal did on the rows that decide: metric values by name, with 95 % intervals."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    baseline: dict[str, float]
    judged_on: str


@dataclass(frozen=True)
class Registered:
    """A version in the registry, or the reason why there is none."""

    version: int | None
    parity: float
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What became of the challenger: `promoted`, `released`, `kept`, `pending-approval` or `rejected`, and why."""

    decision: str
    reason: str
    champion: float | None
    challenger: float | None
    interval: tuple[float, float] | None


def parse_moment(at: str | datetime | None) -> datetime | None:
    """Read an event time; a time without a zone is UTC.

    Raises:
        BadData: `at` is not an ISO 8601 time.

    >>> parse_moment("2011-04-15T00:00:00").isoformat()
    '2011-04-15T00:00:00+00:00'
    """
    if at is None or at == "":
        return None
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    except ValueError:
        raise BadData(f"'{at}' is not an ISO 8601 time; write it like 2026-01-31T12:00:00Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
