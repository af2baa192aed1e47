"""The page about a validation: one HTML file without scripts or links to the network; all data in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from treadle.expectations import ValidationResult
from treadle.leaks import Finding

STYLE = """
:root{color-scheme:light dark} body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%} td,th{text-align:left;padding:.4rem .8rem .4rem 0;border-top:1px solid #8884;vertical-align:top}
.good{color:#18794e}.bad{color:#b42318} @media(prefers-color-scheme:dark){.good{color:#4cc38a}.bad{color:#ff8a7a}}
"""


def render_page(result: ValidationResult, project: str, findings: Sequence[Finding]) -> str:
    """The page of one validation."""
    verdict = (
        f'<p class="bad"><b>Stopped.</b> {escape(result.cause)}</p>'
        if result.cause
        else f'<p class="good"><b>Passed.</b> {result.rows - result.quarantined:,} of {result.rows:,} rows are good.</p>'
    )
    failures = _table(
        ["column", "what", "rows", "kind"], [[f.column, f.said, f"{f.rows:,}", f.kind] for f in result.failures]
    )
    leaks = _table(["column", "what", "why", "weight"], [[f.column, f.kind, f.detail, f.severity] for f in findings])
    quarantined = _table(["row", "reason"], [[str(row), why] for row, why in list(result.bad.items())[:200]])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(project)}: validation</title><style>{STYLE}</style><h1>{escape(project)}: validation</h1>{verdict}"
        f"<p>{result.checked} expectations on {result.rows:,} rows; {result.quarantined:,} rows set aside.</p>"
        f"<h2>Expectations that did not hold</h2>{failures}<h2>Leaks and other findings</h2>{leaks}"
        f"<h2>Rows set aside</h2>{quarantined}</html>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
