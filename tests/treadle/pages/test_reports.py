"""Evidently's page: written where it can be, safe to open, and never a reason to fail."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from treadle.pages.reports import evidently_html
from treadle.project import Data
from treadle.tables.inference import infer_schema

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """Collects what a browser would take for script text and for elements with handlers."""

    def __init__(self):
        super().__init__()
        self.scripts, self.handlers, self.sources, self._inside = [], [], [], False

    def handle_starttag(self, tag, attrs):
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")
        self.handlers += [value for name, value in attrs if name.startswith("on")]
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": rng.normal(size=200), f"c{ATTACK}": rng.choice(["a", ATTACK], 200), "y": rng.normal(size=200)}
    )
    schema = infer_schema(frame, Data(source="x", target="y"), "tabular-regression")
    return schema, frame.drop(columns="y")


def test_data_cannot_become_markup(tables, tmp_path):
    schema, frame = tables
    path = tmp_path / "reports" / "drift.html"
    assert evidently_html(frame, frame[:100], schema, path) is None
    html = path.read_text(encoding="utf-8")
    page = Elements()
    page.feed(html)
    assert "alert(1)" in html
    assert not any(script.strip().startswith("alert") for script in page.scripts)
    assert not any("alert" in (handler or "") for handler in page.handlers)
    assert not any(source.startswith(("http:", "https:", "//")) for source in page.sources)


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_a_small_window_has_no_report_and_says_why(tables, tmp_path, rows):
    schema, frame = tables
    assert "too few" in evidently_html(frame, frame[:rows], schema, tmp_path / "drift.html")
    assert not (tmp_path / "drift.html").exists()


def test_an_all_missing_column_is_left_out(tables, tmp_path):
    schema, frame = tables
    assert evidently_html(frame, frame.assign(x=np.nan), schema, tmp_path / "drift.html") is None
