"""The page of a look in a real browser: readable, quiet, and data in it stays text."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pandas as pd
import pytest

from tests.browser import needs_browser, open_browser
from treadle.ledger import VerdictRow
from treadle.pages.comparison import compare_column
from treadle.pages.look_page import render_look
from treadle.pages.page import STYLE
from treadle.tables.schema import Column

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
AT = datetime(2011, 6, 15, tzinfo=UTC)


def hostile(**more):
    """A page in which every text that may come from data is an attack."""
    column = Column(name=ATTACK, kind="category", nullable=True)
    drawn = [compare_column(pd.Series(["a", ATTACK] * 9), pd.Series([ATTACK, f"b{ATTACK}"] * 9), column)]
    moved = {"name": ATTACK, "statistic": 0.5, "threshold": 0.1, "drifted": True}
    look = {
        "project": ATTACK, "version": 1, "verdict": "drift", "reason": f"Inputs moved: {ATTACK}",
        "window": {"rows": 100, "labelled": 5}, "columns": [moved, moved | {"name": "still", "drifted": False}],
        "findings": [{"kind": "segment", "effect": 2.0, "since": ATTACK, **moved, "name": f"{ATTACK}=1"}],
        "impact": {"harm": 0.1, "reason": ATTACK, "columns": [{"name": ATTACK, "moved": True, "used": False}]},
        "estimate": {"metric": ATTACK, "value": 1.0}, "retrain": False, "retrain_reason": ATTACK, "suppressed": ATTACK,
        "windows": [{"from": ATTACK, "to": ATTACK, "answered": 9, "labelled": 0, "metric": None, "estimate": None}],
    }  # fmt: skip
    before = [VerdictRow(1, "drift", ATTACK, 100, 5, {}, None, AT - timedelta(hours=1))]
    links = {ATTACK: f'x" onclick="alert(3)"{ATTACK}'}
    return render_look(look | more, AT, drawn, before, links)


def test_the_page_says_all_five_things_and_what_is_unknown_is_no_zero():
    html = render_look(
        {
            "project": "bikes",
            "verdict": "ok",
            "reason": "Inputs are where they were.",
            "windows": [{"from": "2011-06-01", "to": "2011-06-02", "answered": 9, "labelled": 0, "metric": None}],
        },
        AT, [], [], {},
    )  # fmt: skip
    for heading in ("What happened", "Since when", "What moved", "What it costs", "What was decided, and why"):
        assert f"<h2>{heading}</h2>" in html
    assert ">unknown</td>" in html
    assert not re.search(r"<script|https?://", html)


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1000, False), (390, True)])
def test_in_a_browser_data_stays_text_and_nothing_is_asked_of_the_network(tmp_path, width, dark):
    path = tmp_path / "look.html"
    path.write_text(hostile(), encoding="utf-8")
    with open_browser(tmp_path) as tab:
        tab.look_like(width, 800, dark)
        tab.open(path.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.evaluate("document.querySelectorAll('script, img, iframe, object').length") == 0
        assert tab.evaluate("[...document.querySelectorAll('*')].some((one) => one.getAttribute('onclick'))") is False
        assert tab.evaluate("document.querySelectorAll('main svg rect.normal').length") >= 2
        assert "alert(1)" in tab.evaluate("document.querySelector('main').innerText")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.dialogs == []
        assert [address for address in tab.asked if not address.startswith(("file:", "data:"))] == []


def luminance(color):
    """WCAG 2.2's relative luminance of `#rrggbb`."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colors(scheme):
    found = {
        name: f"#{''.join(sign * 2 for sign in code)}" if len(code) == 3 else f"#{code}"
        for name, code in re.findall(r"--(\w+):#(\w+)", scheme)
    }
    assert set(found) == {"ink", "soft", "line", "ground", "faint", "link", "good", "bad", "wait"}
    return found


@pytest.mark.parametrize(
    ("scheme", "name"),
    list(product(STYLE.split("@media(prefers-color-scheme:dark)")[:2], ["ink", "soft", "link", "good", "bad", "wait"])),
)
def test_text_can_be_read_in_both_schemes_and_bars_be_seen(scheme, name):
    found = colors(scheme)
    assert contrast(found[name], found["ground"]) >= 4.5
    assert contrast(found["faint"], found["ground"]) >= 3
