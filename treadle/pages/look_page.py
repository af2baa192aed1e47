"""The page of one look: what happened, since when, what moved, what it costs, what was decided and why.

One short HTML file without a script or a link to the network. All that comes from data is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from treadle.ledger import VerdictRow
from treadle.pages.comparison import STYLE, Comparison, draw
from treadle.pages.look import (
    KINDS,
    LONGEST_WORDS,
    Moved,
    Words,
    in_words,
    moment,
    moved,
    page_name,
    span_in_words,
)
from treadle.pages.page import document, html_table
from treadle.wording import figure, short

TONES = {"ok": "good", "drift": "bad", "quality-loss": "bad", "invalid": "bad", "insufficient-data": "wait"}
MOST_MOVED = 30


def render_look(
    look: Mapping[str, Any],
    at: datetime,
    comparisons: Sequence[Comparison],
    before: Sequence[VerdictRow],
    links: Mapping[str, str],
) -> str:
    """The page.

    Args:
        look: What the watch flow gives, as far as it is known.
        at: The look's event time.
        comparisons: The columns that can be drawn.
        before: The looks before this one that have a page, newest first.
        links: Addresses by what they lead to.
    """
    words, verdict = in_words(look), str(look.get("verdict", "not judged"))
    parts = [
        f'<h1>{escape(str(look.get("project", "")))}: <span class="{TONES.get(verdict, "wait")}">{escape(verdict)}</span></h1>',
        f'<p class="soft">{escape(_facts(look, at))}</p>',
        _part("What happened", words.happened),
        _part("Since when", words.since),
        _what_moved(look, words, {one.name: one for one in comparisons}),
        _part("What it costs", *words.costs),
        _by_window(look.get("windows") or ()),
        _part("What was decided, and why", words.decided),
        _part("Probation", words.probation) if words.probation else "",
        _part("Steps", words.steps) if words.steps else "",
        _part("False alarms", words.false_alarms) if words.false_alarms else "",
        _looks_before(before),
        _where_else(links),
    ]
    return document(f"{words.title}, {moment(at)}", "".join(parts), STYLE)


def _part(heading: str, *sentences: str) -> str:
    return f"<h2>{escape(heading)}</h2>" + "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _facts(look: Mapping[str, Any], at: datetime) -> str:
    window = look.get("window") or {}
    version = f"version {look['version']}, " if look.get("version") is not None else ""
    again = f" ({window['answered_again']:,} answered again)" if window.get("answered_again") else ""
    rows, labelled = _several(window.get("rows", 0), "prediction"), _several(window.get("labelled", 0), "labelled row")
    return f"{version}{moment(at)}, {rows}; {labelled} for its errors{again}"


def _several(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _what_moved(look: Mapping[str, Any], words: Words, drawn: Mapping[str, Comparison]) -> str:
    """A row for each thing that moved, with all that was found of it; the columns that did not are folded away."""
    found: dict[str, list[Moved]] = {}
    for one in moved(look):
        found.setdefault(one.title, []).append(one)
    if found:
        rows = [_row(ones, drawn.get(ones[0].name)) for ones in list(found.values())[:MOST_MOVED]]
        more = f", {MOST_MOVED} shown" if len(found) > MOST_MOVED else ""
        head = (
            f'<h2>What moved</h2><p class="soft">{len(found)} in all{more}. Bars: when the version was trained. '
            "Line: this window.</p>" + html_table(["what", "before and now", "change", "distance"], rows)
        )
    else:
        head = f"<h2>What moved</h2><p>{escape(words.columns)}</p>"
    still = [c for c in look.get("columns") or () if not c.get("drifted")]
    if not still:
        return head
    rows = [
        _row(
            [Moved(str(c["name"]), "", figure(c.get("statistic")), figure(c.get("threshold")))],
            drawn.get(str(c["name"])),
        )
        for c in still[:MOST_MOVED]
    ]
    folded = html_table(["column", "before and now", "change", "distance"], rows)
    many = f"{len(still)} columns that did not move" + (f", {MOST_MOVED} shown" if len(still) > MOST_MOVED else "")
    return f"{head}<details><summary>{many}</summary>{folded}</details>"


def _row(ones: Sequence[Moved], comparison: Comparison | None) -> list[str]:
    """One row of all that was found of one thing."""
    name = f"<b>{escape(short(ones[0].title))}</b>"
    for one in ones:
        if one.words:
            name += f"<br>{escape(short(one.words, LONGEST_WORDS))}"
        elif one.kind and one.kind != "input":
            name += f"<br>{escape(KINDS.get(one.kind, one.kind))}"
        if one.since:
            name += f'<br><span class="soft">since {escape(moment(one.since))}</span>'
    distances = "<br>".join(one.measured for one in ones if one.statistic is not None)
    picture, change = ("", "") if comparison is None else (draw(comparison), escape(comparison.change))
    return [name, picture, change, distances]


def _by_window(windows: Sequence[Mapping[str, Any]]) -> str:
    """Quality by window of prediction time."""
    if not windows:
        return ""
    spans = [span_in_words(window) for window in windows[-12:]]
    return html_table(list(spans[0]), [[escape(text) for text in span.values()] for span in spans])


def _looks_before(before: Sequence[VerdictRow]) -> str:
    if not before:
        return ""
    rows = [
        [
            f'<a class="whole" href="{page_name(row.at)}">{escape(moment(row.at))}</a>',
            f'<span class="{TONES.get(row.verdict, "wait")}">{escape(row.verdict)}</span>',
            escape(row.reason),
        ]
        for row in before
    ]
    return f"<h2>Looks before</h2>{html_table(['at', 'verdict', 'why'], rows)}"


def _where_else(links: Mapping[str, str]) -> str:
    found = "".join(f'<a href="{escape(address)}">{escape(text)}</a>' for text, address in links.items())
    return f"<h2>Where else</h2><p>{found}</p>" if found else ""
