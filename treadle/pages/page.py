"""What our own HTML pages share: one file, no script, nothing from the network, light and dark, all data escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1d2433;--soft:#5b6577;--line:#d9dee7;--ground:#fff;--faint:#8a94a6;--link:#0b5cad;
--good:#18794e;--bad:#b42318;--wait:#855800}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b8;--line:#323a48;--ground:#14171d;--faint:#6b7689;
--link:#7ab7ff;--good:#4cc38a;--bad:#ff8a7a;--wait:#f0c000}}
*{box-sizing:border-box} body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
background:var(--ground);color:var(--ink);overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .3rem} h2{font-size:1.05rem;margin:1.6rem 0 .3rem} p{margin:.3rem 0}
a{color:var(--link)} a+a{margin-left:1.2rem} .soft{color:var(--soft)}
table{border-collapse:collapse;width:100%} caption,td,th{text-align:left}
th{overflow-wrap:normal} td,th{padding:.4rem .8rem .4rem 0;border-top:1px solid var(--line);vertical-align:top}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
@media(max-width:40rem){table.wide,.wide tbody,.wide tr,.wide td{display:block}.wide tr:first-child{display:none}
.wide td{border:0;padding:.1rem 0}
.wide td:not(:first-child):not(:empty)::before{content:attr(data-head)" ";color:var(--soft)}
.wide tr{border-top:1px solid var(--line);padding:.5rem 0}}
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML whose data is escaped already.
        style: More rules, ours alone.
    """
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style><main>{body}</main></html>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text; `None.` when there are no rows."""
    return html_table(head, [[escape(cell) for cell in row] for row in rows])


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML, their data escaped already; on a phone its rows become blocks."""
    if not rows:
        return "<p>None.</p>"
    names = [escape(name) for name in head]
    top = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td data-head="{n}">{cell}</td>' for n, cell in zip(names, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="wide"><tr>{top}</tr>{body}</table>'
