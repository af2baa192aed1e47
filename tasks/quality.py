"""Follow quality: measured by the time of the predictions as labels come, estimated until then; what moved inputs cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.errors import NotFound
from treadle.ledger import Ledger, QualityRows, QualityWindow, Row
from treadle.models.evidence import Evidence
from treadle.pages.look import span_in_words
from treadle.privacy import unknown_where_redacted
from treadle.problems import Problem, load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.quality.answered import expected_of, measured
from treadle.quality.estimator import Estimator, Expected
from treadle.quality.impact import Impact, judge_impact
from treadle.quality.storage import load_estimator, load_rows
from treadle.quality.windows import MONDAY, SHOWN, Grid, figures, grid_of, track_record
from treadle.quality.words import say_quality
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings
from treadle.tables.schema import Schema
from treadle.window import features_of

MOST_ESTIMATED = 2000
"""Rows of a closed window that its estimate is made of, the newest."""
MOST_MEASURED = 5000
"""Labelled rows that its metric is made of, the newest."""
RECORD = 100
"""Windows that a track record looks back on."""
INPUTS = ("input", "missing", "categories")
JUDGED = ("ok", "drift", "quality-loss")

Estimators = Callable[[int], Estimator | None]


@step("follow quality", retries=2)
def follow_quality(name: str, at: str | None, verdict: dict[str, Any]) -> dict[str, Any]:
    """Measure the windows for which labels came, estimate the others, and say what moved inputs cost.

    Args:
        name: The project.
        at: Event time of the look; now, when left out.
        verdict: What the look said of the newest window.

    Returns:
        `coverage`, `windows`, `estimate`, `impact`; what is not known is `None`.

    Raises:
        NotFound: The model has no champion.
    """
    settings = Settings()
    project = load_project(name, settings)
    ledger = Ledger.open(settings)
    champion = ledger.champion(name)
    if champion is None:
        raise NotFound(f"'{name}' has no champion to follow. `treadle train {name}` trains one.")
    moment = parse_moment(at) or datetime.now(UTC)
    follower = Follower(settings, project, ledger, moment)
    early, dropped = ledger.settle_early(name)
    rows = ledger.window(name, project.watch.window, until=moment, version=champion.version)
    labelled = sum(row.label is not None for row in rows)
    found = follower.expected(rows)
    windows = follower.windows()
    said: dict[str, Any] = {
        "coverage": {
            "answered": len(rows),
            "labelled": labelled,
            "share": labelled / len(rows) if rows else None,
            "early": early,
            "expired": dropped,
        },
        "windows": windows,
        "estimate": follower.estimate(found),
        "impact": follower.impact(champion.version, rows, found, verdict).figures(),
    }
    QualityRows(ledger).record_look(name, champion.version, said, moment)
    _show(name, follower.metric, said)
    return said


class Follower:
    """One look at a project's quality."""

    def __init__(self, settings: Settings, project: Project, ledger: Ledger, moment: datetime) -> None:
        self._project, self._ledger, self._moment = project, ledger, moment
        self._schema = Schema.load(project.folder / "schema.json")
        self._problem: Problem = load_problem(project.problem)
        self.metric = pick_metric(self._problem, project.promote.metric)
        self._evidence = Evidence(settings, project.name)
        self._estimator_of: Estimators = cache(self._load)
        self._rows = QualityRows(ledger)

    def _load(self, version: int) -> Estimator | None:
        found = load_estimator(self._evidence.of(version))
        return found if found is not None and found.metric == self.metric else None

    def expected(self, rows: Sequence[Row]) -> tuple[Estimator, Expected] | None:
        """What is to be expected of rows, by the versions that answered them."""
        known = unknown_where_redacted(rows, self._project.privacy.redacted)
        return expected_of(known, self._schema, self._estimator_of)

    def windows(self) -> list[dict[str, Any]]:
        """The newest windows by prediction time, the one that is still open last."""
        name, wanted = self._project.name, self._project.watch.window
        newest = self._ledger.window(name, wanted, until=self._moment)
        if not newest:
            return []
        least = self._project.watch.min_labelled
        grid = grid_of(newest[0].at, newest[-1].at, len(newest), wanted, least)
        last = grid.number(self._moment)
        numbers = range(last - SHOWN, last + 1)
        counts = self._rows.counts(name, MONDAY, grid.span, numbers, self._moment)
        past = self._rows.windows(name, self.metric, grid.begin(last), RECORD)
        before = {(w.begin, w.end): w for w in past}
        made = [self._window(grid, number, *counts[number], before) for number in sorted(counts)]
        closed = [window for window in made if window.end <= self._moment]
        self._rows.keep(name, [window for window in closed if window != before.get((window.begin, window.end))])
        return [figures(window) for window in made]

    def _window(
        self, grid: Grid, number: int, answered: int, labelled: int, before: dict[tuple[datetime, datetime], QualityWindow]
    ) -> QualityWindow:  # fmt: skip
        """One window: its estimate as it was made before, its metric anew when more labels have come."""
        begin, end = grid.begin(number), grid.begin(number + 1)
        old = before.get((begin, end))
        estimate = old.estimate if old else self._interval(self.expected(self._answered(begin, end, labelled=False)))
        value = old.value if old else None
        if labelled != (old.labelled if old else 0):
            value = self._measure(begin, end, labelled)
        return QualityWindow(begin, end, self.metric, answered, labelled, value, estimate)

    def _answered(self, begin: datetime, end: datetime, *, labelled: bool) -> list[Row]:
        most = MOST_MEASURED if labelled else MOST_ESTIMATED
        return self._rows.rows(self._project.name, begin, end, self._moment, labelled=labelled, most=most)

    def _measure(self, begin: datetime, end: datetime, labelled: int) -> float | None:
        """The metric of the labelled rows; too few say nothing."""
        if labelled < self._project.watch.min_labelled:
            return None
        return measured(self._answered(begin, end, labelled=True), self._schema, self._problem, self.metric)

    def _interval(self, found: tuple[Estimator, Expected] | None) -> dict[str, float] | None:
        if found is None or not math.isfinite(value := found[1].value()):
            return None
        low, high = found[0].interval(value, len(found[1].losses))
        return {"value": value, "low": low, "high": high}

    def estimate(self, found: tuple[Estimator, Expected] | None) -> dict[str, Any] | None:
        """The estimated quality of the newest rows, and how well such estimates have done."""
        interval = self._interval(found)
        if found is None or interval is None:
            return None
        past = self._rows.windows(self._project.name, self.metric, self._moment, RECORD)
        return {
            "metric": self.metric,
            **interval,
            "normal": found[0].value,
            "method": found[0].method,
            "outside": found[1].share_outside(),
            "track_record": track_record(past),
        }

    def impact(
        self, version: int, rows: Sequence[Row], found: tuple[Estimator, Expected] | None, verdict: dict[str, Any]
    ) -> Impact:
        """What the inputs that moved cost."""
        if verdict.get("verdict") not in JUDGED:
            return Impact(None, None, (), "What moved inputs cost is not known: the window was not judged.")
        moved = {column["name"] for column in verdict.get("columns", ()) if column["drifted"]}
        moved |= {f["name"] for f in verdict.get("findings", ()) if f["kind"] in INPUTS and f["drifted"]}
        if verdict["verdict"] == "drift" and not moved:
            return Impact(None, None, (), "What moved is no single input: what it costs is not known.")
        known = unknown_where_redacted(rows, self._project.privacy.redacted)
        estimator, expected = found or (None, None)
        reference = load_rows(self._evidence.of(version)) if moved else None
        seen = [c for c in self._schema.features if c.name not in self._project.privacy.redacted]
        frame = features_of(known, self._schema)
        return judge_impact(estimator, expected, moved, frame, reference, seen)


def _show(name: str, metric: str, said: dict[str, Any]) -> None:
    create_markdown_artifact(
        key=f"{name}-quality", markdown="\n\n".join(say_quality(said)), description=f"{metric}, measured and estimated"
    )
    if said["windows"]:
        create_table_artifact(
            key=f"{name}-quality-windows",
            table=[span_in_words(window) for window in said["windows"]],
            description=f"{metric} by window",
        )
