"""Validate: the rows against the project's expectations, and the leaks named before anything is trained."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import uuid4

from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from tasks.step import step
from treadle.errors import BrokenTable
from treadle.pages.validation_page import render_page
from treadle.project import Project, load_project
from treadle.retraining.turn import Rows, Turn
from treadle.settings import Settings
from treadle.tables.data import digest, load_snapshot, snapshot
from treadle.tables.expectations import check, quarantine, write_suite
from treadle.tables.leaks import find_leaks
from treadle.tables.schema import Schema


def same_table_and_rules(_context: TaskRunContext, inputs: dict[str, object]) -> str:
    """Cache key: a table that was checked against these very expectations need not be checked again."""
    turn, rows = inputs["turn"], inputs["rows"]
    assert isinstance(turn, Turn) and isinstance(rows, Rows)  # noqa: S101, PT018 - narrows Prefect's untyped inputs
    project = load_project(turn.project)
    suite = project.folder / project.validation.suite
    rules = hashlib.sha256(suite.read_bytes()).hexdigest() if suite.exists() else "first run"
    return f"validate-{project.name}-{_generation(project.name)}-{project.digest}-{rows.digest}-{rules}"


def _generation(name: str) -> str:
    """A mark that goes when the project's snapshots go: a cached answer must not name a file that was removed."""
    path = Settings().state_dir / "snapshots" / name / ".generation"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex)
    return path.read_text()


@step(
    "validate data",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=same_table_and_rules),
    persist_result=True,
    result_serializer="json",
)
def validate_data(turn: Turn, rows: Rows) -> Rows:
    """Check the rows; set the bad ones aside with the reason for each.

    The first run writes the expectations from the data, for people to edit.

    Raises:
        BrokenTable: A column is missing or of the wrong type, too many rows are bad, or the target is of no use.
    """
    settings = Settings()
    project = load_project(turn.project, settings)
    schema = Schema.load(turn.path("schema.json"))
    frame = load_snapshot(rows.path)
    suite = project.folder / project.validation.suite
    if not suite.exists():
        write_suite(frame, schema, suite)
    result = check(frame, schema, suite, project)
    findings = find_leaks(frame, schema, project.problem)
    page = settings.reports_dir / project.name / "validation.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_page(result, project.name, findings), encoding="utf-8")
    stops = [finding.detail for finding in findings if finding.severity == "stop"]
    if not result.passed or stops:
        raise BrokenTable(f"{'; '.join(stops) or result.cause} (see {page})")
    good, bad = quarantine(frame, result)
    if len(bad):
        bad.to_parquet(quarantine_file(settings, project), index=False)
    lines = [f"- **{finding.column or 'All columns'}** ({finding.kind}): {finding.detail}" for finding in findings]
    create_markdown_artifact(
        key=f"{project.name}-validation",
        markdown=f"{len(good):,} rows passed, {len(bad):,} set aside.\n\n" + ("\n".join(lines) or "No leaks found."),
        description=f"Page: {settings.api_url}/reports/{project.name}/validation.html",
    )
    known = tuple(finding.detail for finding in findings if finding.kind != "identifier")
    return Rows(snapshot(good, settings, project.name), len(good), digest(good), len(bad), known)


def quarantine_file(settings: Settings, project: Project) -> Path:
    """Where the rows that failed wait for a person, each with its reason."""
    path = settings.state_dir / "quarantine" / f"{project.name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
