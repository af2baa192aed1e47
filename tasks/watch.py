"""Watch: the newest predictions of the champion against what was normal when it was trained."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.drift import Judgement, Look, Reference, judge
from treadle.errors import NotFound, Unavailable
from treadle.learning.reference import load_reference
from treadle.ledger import Ledger, Row, VerdictRow
from treadle.models.answering import open_for_rows
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.pages.card import escape
from treadle.pages.look import moment as in_utc
from treadle.pages.reports import evidently_html
from treadle.privacy import unknown_where_redacted
from treadle.project import Project, load_project
from treadle.retraining.turn import parse_moment
from treadle.settings import Settings
from treadle.tables.schema import Schema
from treadle.window import features_of, in_hindsight, window_of

MOST_LOOKS = 336  # two weeks of hourly looks
MOST_SHOWN = 60  # findings of a table in Prefect's UI


@step("judge window", retries=2)
def judge_window(name: str, at: str | None = None) -> dict[str, Any]:
    """Judge the newest window, keep Evidently's report of it, and write the verdict down.

    Returns:
        `project`, `version`, `verdict`, `reason`, `window`, `columns`, `quality`, `findings`, `false_alarm_rate`,
        `persistence`, `report`; `at`, the event time of the look, by which its page is named.

    Raises:
        NotFound: The model has no champion.
    """
    settings = Settings()
    project = load_project(name, settings)
    ledger = Ledger.open(settings)
    champion = ledger.champion(name)
    if champion is None:
        raise NotFound(f"'{name}' has no champion to watch. `treadle train {name}` trains one.")
    moment = parse_moment(at) or datetime.now(UTC)
    _follow_champion(settings, ledger, name)
    schema = Schema.load(project.folder / "schema.json")
    reference = load_reference(Evidence(settings, name).of(champion.version))
    seen = look_at(settings, project, ledger, schema, reference, champion.version, moment)
    found = seen.found
    report = _report(settings, project, schema, reference, seen.rows, found, moment)
    here = VerdictRow(
        champion.version, found.verdict, found.reason, len(seen.rows), seen.labelled, found.figures(), report, moment
    )
    ledger.record_verdict(name, here)
    _show(name, settings, found, here)
    if settings.ledger_retention_days is not None:
        ledger.prune(datetime.now(UTC) - timedelta(days=settings.ledger_retention_days))
    return {
        "project": name, "version": champion.version, **seen.figures(), "report": report, "at": moment.isoformat(),
    }  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What a look saw.

    Attributes:
        rows: Features of the newest rows that the version answered, (n, columns).
        labelled: How many labelled rows judge it.
        again: How many of those another version had answered, and this one answered again.
        found: The judgement.
    """

    rows: pd.DataFrame
    labelled: int
    again: int
    found: Judgement

    def figures(self) -> dict[str, Any]:
        """What is told of a look, as JSON holds it."""
        found, figures = self.found, self.found.figures()
        return {
            "verdict": found.verdict,
            "reason": found.reason,
            "window": {"rows": len(self.rows), "labelled": self.labelled, "answered_again": self.again},
            "columns": [
                {"name": c.name, "statistic": c.statistic, "threshold": c.threshold, "drifted": c.drifted}
                for c in found.columns
            ],
            **{key: figures[key] for key in ("quality", "findings", "false_alarm_rate", "persistence")},
        }


def look_at(
    settings: Settings, project: Project, ledger: Ledger, schema: Schema, reference: Reference | None, version: int,
    moment: datetime,
) -> Seen:  # fmt: skip
    """Judge the newest predictions of a version by what was known at a moment."""
    name, redacted = project.name, project.privacy.redacted
    rows = ledger.window(name, project.watch.window, until=moment, version=version)
    labelled = _labelled(settings, project, ledger, schema, version, moment)
    rows, labelled = unknown_where_redacted(rows, redacted), unknown_where_redacted(labelled, redacted)
    frame, again = features_of(rows, schema), sum(row.version != version for row in labelled)
    if reference is None:
        gone = f"The reference of version {version} is gone; train '{name}' again."
        return Seen(frame, len(labelled), again, Judgement("invalid", gone))
    found = judge(
        reference,
        window_of(rows, labelled, schema, project, reference),
        [column for column in schema.features if column.name not in redacted],
        project.watch,
        project.split.seed,
        _earlier_looks(ledger, name, version),
        moment,
        classes=schema.classes,
        untold=project.privacy.personal,
    )
    return Seen(frame, len(labelled), again, found)


def _labelled(
    settings: Settings, project: Project, ledger: Ledger, schema: Schema, version: int, moment: datetime
) -> list[Row]:
    """The newest labelled rows that judge a version: those that it answered, and newer ones of others, answered again."""
    name, most = project.name, project.watch.window
    registered = ledger.version(name, version)
    until = registered.data_until if registered else None
    found = ledger.labelled(name, until=moment, version=version, newest=most, or_after=until)
    if all(row.version == version for row in found):
        return found
    served = open_for_rows(settings, ledger, project, schema, version)
    if isinstance(served, str):  # then what it answered by itself is all that judges it
        return ledger.labelled(name, until=moment, version=version, newest=most)
    return in_hindsight(found, schema, version, until, served.answer)


def _earlier_looks(ledger: Ledger, name: str, version: int) -> list[Look]:
    """What the newest looks at this version found, newest first."""
    looks = []
    for row in ledger.last_verdicts(name, MOST_LOOKS):
        if row.version != version:
            break
        found = [f for f in row.figures.get("findings", ()) if f["drifted"]]
        looks.append(Look(row.at, frozenset(f"{f['kind']}:{f['name']}" for f in found)))
    return looks


def _follow_champion(settings: Settings, ledger: Ledger, name: str) -> None:
    """Let MLflow's aliases follow what the service promoted or rolled back by itself; MLflow out is for the next look."""
    with suppress(Unavailable):
        Registry(settings, ledger).follow(name)


def _report(
    settings: Settings, project: Project, schema: Schema, reference: Reference | None, frame: pd.DataFrame,
    found: Judgement, moment: datetime,
) -> str | None:  # fmt: skip
    """Evidently's page for people, where there is enough to draw; its own opinion decides nothing."""
    if reference is None or found.verdict in ("invalid", "insufficient-data"):
        return None
    path = settings.reports_dir / project.name / f"drift-{moment:%Y%m%dT%H%M%S}.html"
    refusal = evidently_html(reference.rows, frame, schema, path)
    return None if refusal else str(path)


def _in_words(found: Judgement) -> list[str]:
    """Each finding that moved as a line of a list; those that say the same are one."""
    told = {f.said: f for f in reversed(found.findings) if f.drifted}
    return [
        f"- {f.kind}: {escape(f.said)}" + (f", since {in_utc(f.since)}" if f.since else "")
        for f in reversed(told.values())
    ]


def _show(name: str, settings: Settings, found: Judgement, row: VerdictRow) -> None:
    create_markdown_artifact(
        key=f"{name}-verdict",
        markdown="\n".join([f"**{found.verdict}.** {escape(found.reason)}", "", *_in_words(found)]),
        description=f"{row.rows:,} rows; {row.labelled:,} labelled ones judge the errors",
    )
    if found.findings:
        create_table_artifact(
            key=f"{name}-drift",
            table=[
                {"what": f.kind, "where": f.name, "distance": f.statistic, "allowed": f.threshold, "moved": f.drifted,
                 "in words": f.said, "since": in_utc(f.since) if f.since else ""}
                for f in sorted(found.findings, key=lambda f: (not f.drifted, f.threshold - f.statistic))[:MOST_SHOWN]
            ],
            description="What was compared with the reference; what moved comes first",
        )  # fmt: skip
    if row.report:
        link = f"{settings.api_url}/reports/{name}/{row.report.rsplit('/', 1)[-1]}"
        create_link_artifact(link=link, link_text="Evidently's report of this window", key=f"{name}-drift-report")
