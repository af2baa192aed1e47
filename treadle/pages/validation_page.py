"""The page about a validation: one HTML file without scripts or links to the network; all data in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from treadle.pages.page import document, table
from treadle.tables.expectations import ValidationResult
from treadle.tables.leaks import Finding


def render_page(result: ValidationResult, project: str, findings: Sequence[Finding]) -> str:
    """The page of one validation."""
    verdict = (
        f'<p class="bad"><b>Stopped.</b> {escape(result.cause)}</p>'
        if result.cause
        else f'<p class="good"><b>Passed.</b> {result.rows - result.quarantined:,} of {result.rows:,} rows are good.</p>'
    )
    failures = table(
        ["column", "what", "rows", "kind"], [[f.column, f.said, f"{f.rows:,}", f.kind] for f in result.failures]
    )
    leaks = table(
        ["column", "what", "why", "weight"],
        [[f.column or "all columns", f.kind, f.detail, f.severity] for f in findings],
    )
    quarantined = table(["row", "reason"], [[str(row), why] for row, why in list(result.bad.items())[:200]])
    return document(
        f"{project}: validation",
        f"<h1>{escape(project)}: validation</h1>{verdict}"
        f"<p>{result.checked} expectations on {result.rows:,} rows; {result.quarantined:,} rows set aside.</p>"
        f"<h2>Expectations that did not hold</h2>{failures}<h2>Leaks and other findings</h2>{leaks}"
        f"<h2>Rows set aside</h2>{quarantined}",
    )
