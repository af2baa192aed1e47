"""Report: the page of one look, linked from Prefect and MLflow."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.runtime import flow_run

from tasks.step import step
from treadle.alerting.alerts import notice_of_look, notice_of_stop
from treadle.alerting.courier import Courier
from treadle.errors import TreadleError, Unavailable
from treadle.learning.reference import load_reference
from treadle.ledger import AlertBook, Ledger, VerdictRow
from treadle.models.evidence import Evidence
from treadle.models.registry import Registry
from treadle.models.tracking import run_url
from treadle.pages.card import escape
from treadle.pages.comparison import Comparison, compare_column
from treadle.pages.look import FOLDER, in_words, moment, page_address, page_name
from treadle.pages.look_page import render_look
from treadle.privacy import unknown_where_redacted
from treadle.project import Project, load_project
from treadle.settings import Settings
from treadle.tables.schema import Column, Schema
from treadle.window import features_of
from treadle.wording import short

LOOKS_BEFORE = 8
MOST_LOOKS = 500
PAGES_KEPT = 1000
REPORTS_KEPT = 50
"""Evidently's pages are 5 MB each."""
LONGEST_LINE = 1000
"""Of a run's log."""
DRAWN = ("number", "integer", "boolean", "category")


@step("report watch", retries=2)
def report_watch(name: str, look: dict[str, Any]) -> dict[str, Any]:
    """Write the look's page, link it from Prefect and MLflow, and tell whoever is to be told.

    Args:
        name: The project.
        look: What the steps before say; its `at` is that of the verdict in the ledger, so that all find the page.

    Returns:
        `page`, its path; `since`: as of which look, and for how many in a row, the verdict is what it is; `alert`, the
        number of the alert that this look is or belongs to, or `None`.
    """
    settings = Settings()
    project = load_project(name, settings)
    ledger = Ledger.open(settings)
    at_moment = datetime.fromisoformat(look["at"])
    past = [row for row in ledger.last_verdicts(name, MOST_LOOKS) if row.at != at_moment]
    look = look | {"since": since_when(look.get("verdict"), past, at_moment)}
    page = write_page(settings, ledger, project, look, at_moment, past)
    keep_newest(settings.reports_dir / name / FOLDER, "*.html", PAGES_KEPT)
    keep_newest(settings.reports_dir / name, "drift-*.html", REPORTS_KEPT)
    _link(settings, ledger, name, look, at_moment, page)
    alert = _tell(settings, ledger, project, look, at_moment)
    return {"page": str(page), "since": look["since"], "alert": alert}


def _tell(settings: Settings, ledger: Ledger, project: Project, look: dict[str, Any], at: datetime) -> int | None:
    """Raise and end alerts, and carry out what can be in time; the rest is in the ledger and is carried out later."""
    address = page_address(settings, project.name, at)
    notices = [notice for make in (notice_of_look, notice_of_stop) if (notice := make(look, address)) is not None]
    alert = AlertBook(ledger).follow_look(
        project.name, str(look.get("verdict")), notices, at, project.alerts.resolve_after
    )
    try:
        Courier(settings, ledger).carry(settings.alert_s)
    except TreadleError as error:
        get_run_logger().warning("alerts wait: %s", error)
    return alert


def since_when(verdict: str | None, past: list[VerdictRow], at: datetime) -> dict[str, Any]:
    """The first of the looks, up to this one, that all said the same; `past` is newest first."""
    same = [at]
    for row in past:
        if row.verdict != verdict:
            break
        same.append(row.at)
    return {"at": same[-1].isoformat(), "looks": len(same)}


def write_page(
    settings: Settings, ledger: Ledger, project: Project, look: dict[str, Any], at: datetime, past: list[VerdictRow]
) -> Path:
    """Write the page of a look; `past` are the looks before it, newest first."""
    path = settings.reports_dir / project.name / FOLDER / page_name(at)
    kept = [row for row in past[:LOOKS_BEFORE] if path.with_name(page_name(row.at)).exists()]
    drawn = _compare(settings, ledger, project, look, at)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(render_look(look, at, drawn, kept, _links(settings, ledger, look)), encoding="utf-8")
    draft.replace(path)
    return path


def _compare(
    settings: Settings, ledger: Ledger, project: Project, look: dict[str, Any], at: datetime
) -> list[Comparison]:
    """The columns beside their reference, of the same rows that were judged; none where there is nothing to compare."""
    version = look.get("version")
    schema_file = project.folder / "schema.json"
    reference = load_reference(Evidence(settings, project.name).of(version)) if version is not None else None
    if reference is None or not schema_file.exists():
        return []
    schema = Schema.load(schema_file)
    rows = ledger.window(project.name, project.watch.window, until=at, version=version)
    frame = features_of(unknown_where_redacted(rows, project.privacy.redacted), schema)
    private = {*project.privacy.redacted, project.privacy.subject}
    return [
        compare_column(reference.rows[column.name], frame[column.name], column)
        for column in schema.features
        if column.name not in private and _can_compare(column, reference.rows, frame)
    ]


def _can_compare(column: Column, reference: pd.DataFrame, frame: pd.DataFrame) -> bool:
    """Whether a column is there on both sides, and is what the schema says."""
    if column.kind not in DRAWN or column.name not in reference or column.name not in frame or not len(frame):
        return False
    both = (reference[column.name], frame[column.name])
    return column.kind not in ("number", "integer") or all(pd.api.types.is_numeric_dtype(part) for part in both)


def _links(settings: Settings, ledger: Ledger, look: dict[str, Any]) -> dict[str, str]:
    """Where more is to be seen, as far as it is there."""
    links = {}
    if look.get("report"):
        links["Evidently's full report"] = f"../{Path(look['report']).name}"
    version = ledger.version(look["project"], look["version"]) if look.get("version") is not None else None
    if version is not None:
        links[f"Version {version.version} in MLflow"] = run_url(settings, look["project"], version.run_id)
    if flow_run.id:
        links["This run in Prefect"] = f"{settings.prefect_url}/runs/flow-run/{flow_run.id}"
    return links


def _link(settings: Settings, ledger: Ledger, name: str, look: dict[str, Any], at: datetime, page: Path) -> None:
    """Link the page from the run in Prefect, whose log says the look too, and from the version's run in MLflow if that is not out."""
    address = page_address(settings, name, at)
    words = in_words(look)
    said = [f"{heading}: {short(text, LONGEST_LINE)}" for heading, text in words.lines()]
    get_run_logger().info("%s", "\n".join([short(words.title), *said, address]))
    create_link_artifact(
        link=address,
        link_text="The page of this look",
        key=f"{name}-look",
        description=f"{words.title}. {words.decided}",
    )
    lines = [f"**{escape(heading)}.** {escape(text)}" for heading, text in words.lines()]
    create_markdown_artifact(
        key=f"{name}-look-in-words", markdown="\n\n".join([*lines, f"[The page]({address})"]), description=words.title
    )
    if look.get("version") is not None:
        said = {
            "treadle.look": f"{look.get('verdict')} at {moment(at)}: {words.happened}",
            "treadle.look.page": address,
        }
        with suppress(Unavailable):
            Registry(settings, ledger).note_look(name, look["version"], said, page.read_text(encoding="utf-8"))


def keep_newest(folder: Path, pattern: str, most: int) -> None:
    """Remove the oldest files beyond a number; another look may be removing the same ones."""
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[most:]:
        path.unlink(missing_ok=True)
