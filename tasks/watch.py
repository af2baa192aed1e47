"""Watch: the newest predictions of the champion against what was normal when it was trained."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.step import step
from treadle.data import AT
from treadle.drift import Judgement, Reference, Window, judge
from treadle.errors import NotFound, Unavailable
from treadle.evidence import Evidence
from treadle.labeling import event_days, late_labels
from treadle.ledger import Ledger, Row, VerdictRow
from treadle.privacy import unknown_where_redacted
from treadle.problems import load_problem, pick_metric
from treadle.project import Project, load_project
from treadle.reference import load_reference
from treadle.registry import Registry
from treadle.reports import evidently_html
from treadle.schema import Schema
from treadle.settings import Settings
from treadle.turn import parse_moment


@step("judge window", retries=2)
def judge_window(name: str, at: str | None = None) -> dict[str, Any]:
    """Judge the newest window, keep Evidently's report of it, and write the verdict down.

    Returns:
        `project`, `verdict`, `reason`, `window`, `columns`, `quality`, `report`.

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
    rows = ledger.window(name, project.watch.window, until=moment, version=champion.version)
    labelled = ledger.labelled(name, until=moment, version=champion.version, newest=project.watch.window)
    redacted = project.privacy.redacted
    rows, labelled = unknown_where_redacted(rows, redacted), unknown_where_redacted(labelled, redacted)
    frame = features_of(rows, schema)
    if reference is None:
        found = Judgement("invalid", f"The reference of version {champion.version} is gone; train '{name}' again.")
    else:
        seen = [column for column in schema.features if column.name not in redacted]
        losses, days = losses_of(labelled, schema, project)
        found = judge(reference, Window(frame, losses, days), seen, project.watch, project.split.seed)
    report = _report(settings, project, schema, reference, frame, found, moment)
    here = VerdictRow(
        champion.version, found.verdict, found.reason, len(rows), len(labelled), found.figures(), report, moment
    )
    ledger.record_verdict(name, here)
    _show(name, settings, found, here)
    if settings.ledger_retention_days is not None:
        ledger.prune(datetime.now(UTC) - timedelta(days=settings.ledger_retention_days))
    return {
        "project": name,
        "version": champion.version,
        "verdict": found.verdict,
        "reason": found.reason,
        "window": {"rows": len(rows), "labelled": len(labelled)},
        "columns": [
            {"name": c.name, "statistic": c.statistic, "threshold": c.threshold, "drifted": c.drifted}
            for c in found.columns
        ],
        "quality": found.figures()["quality"],
        "report": report,
    }


def _follow_champion(settings: Settings, ledger: Ledger, name: str) -> None:
    """Let MLflow's aliases follow what the service promoted or rolled back by itself; MLflow out is for the next look."""
    with suppress(Unavailable):
        Registry(settings, ledger).follow(name)


def features_of(rows: list[Row], schema: Schema) -> pd.DataFrame:
    """The rows' features, conformed, in time order."""
    columns = [c.name for c in schema.features]
    if not rows:
        return pd.DataFrame(columns=columns)
    return late_labels(rows, schema, _no_rows(schema)).frame[columns]


def losses_of(rows: list[Row], schema: Schema, project: Project) -> tuple[np.ndarray, np.ndarray]:
    """Losses of answered and labelled rows, and their days; by what was answered then, not by a model of today."""
    if not rows:
        return np.empty(0), np.empty(0, dtype=np.int64)
    problem = load_problem(project.problem)
    frame = late_labels(rows, schema, _no_rows(schema)).frame
    y = problem.encode_target(frame[schema.target], schema)
    if schema.classes:
        answer = np.array([[row.answer["probabilities"][name] for name in schema.classes] for row in rows])
    else:
        answer = np.array([float(row.answer["prediction"]) for row in rows])
    return problem.row_losses(pick_metric(problem, project.promote.metric), y, answer), event_days(frame)


def _no_rows(schema: Schema) -> pd.DataFrame:
    return pd.DataFrame(
        {c.name: pd.Series(dtype="object") for c in schema.columns} | {AT: pd.Series(dtype="datetime64[us]")}
    )


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


def _show(name: str, settings: Settings, found: Judgement, row: VerdictRow) -> None:
    create_markdown_artifact(
        key=f"{name}-verdict",
        markdown=f"**{found.verdict}.** {found.reason}",
        description=f"{row.rows} rows, {row.labelled} labelled",
    )
    if found.columns:
        create_table_artifact(
            key=f"{name}-drift",
            table=[
                {"column": c.name, "distance": c.statistic, "allowed": c.threshold, "moved": c.drifted}
                for c in found.columns
            ],
            description="Distance of each input from its reference",
        )
    if row.report:
        link = f"{settings.api_url}/reports/{name}/{row.report.rsplit('/', 1)[-1]}"
        create_link_artifact(link=link, link_text="Evidently's report of this window", key=f"{name}-drift-report")
