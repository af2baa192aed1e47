"""Pages of looks and Evidently's reports as the service shows them: in a real browser, by their own policies, offline."""

from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from tests.browser import needs_browser, open_browser
from treadle.keys import Role, create_key
from treadle.ledger import QualityRows, VerdictRow
from treadle.pages.look import page_address, page_name
from treadle.pages.look_page import render_look
from treadle.project import Data
from treadle.tables.inference import infer_schema

AT = datetime(2011, 4, 1, tzinfo=UTC)
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def keep_look(home, at=AT, verdict="drift", report="drift.html", version=1):
    """A look in the ledger, with its page and what stands for Evidently's."""
    folder = home.settings.reports_dir / "toy"
    (folder / "looks").mkdir(parents=True, exist_ok=True)
    if report is not None and not (folder / report).exists():
        (folder / report).write_text("<p id=full>full</p>")
    look = {"project": "toy", "version": 1, "verdict": verdict, "reason": ATTACK, "retrain": False}
    page = folder / "looks" / page_name(at)
    page.write_text(render_look(look, at, [], [], {"Evidently's full report": f"../{report}"}))
    home.ledger.record_verdict("toy", VerdictRow(version, verdict, ATTACK, 300, 20, {}, str(folder / report), at))


def test_the_console_lists_looks_with_their_pages_the_newest_first(home):
    for hours, verdict in enumerate(["ok", "drift", "ok"]):
        keep_look(home, AT + timedelta(hours=hours), verdict)
    with TestClient(create_app(home.settings)) as client:
        (model,) = client.get("/console.json").json()["models"]
        assert [look["verdict"] for look in model["looks"]] == ["ok", "drift", "ok"]
        assert model["verdict"] == model["looks"][0]
        assert model["verdict"]["version"] == 1
        for look in model["looks"]:
            assert client.get(look["page"]).status_code == 200
        newest = AT + timedelta(hours=2)
        assert page_address(home.settings, "toy", newest).endswith(model["looks"][0]["page"])
        (home.settings.reports_dir / "toy/looks" / page_name(newest)).unlink()
        (model,) = client.get("/console.json").json()["models"]
        assert model["looks"][0]["page"] is None


def test_a_look_is_shown_without_scripts_and_all_else_in_a_sandbox_without_our_origin(home):
    keep_look(home)
    with TestClient(create_app(home.settings)) as client:
        look = client.get(f"/reports/toy/looks/{page_name(AT)}").headers["content-security-policy"]
        report = client.get("/reports/toy/drift.html").headers["content-security-policy"]
    assert "sandbox allow-same-origin;" in look
    assert "script" not in look
    assert "sandbox allow-scripts;" in report
    assert "same-origin" not in report
    assert all("default-src 'none'" in policy for policy in (look, report))


@needs_browser
@pytest.mark.parametrize("version", [1, 2])
def test_a_verdict_on_another_version_than_the_champion_is_not_taken_for_its_own(home, serve, tmp_path, version):
    keep_look(home, version=version)
    champion = home.ledger.champion("toy").version
    with serve(home.settings) as (_, address), open_browser(tmp_path) as tab:
        tab.open(f"{address}/")
        tab.wait(lambda: tab.evaluate("document.querySelector('section a')?.textContent") == "This look")
        text = tab.evaluate("document.querySelector('main').innerText")
        told = f"of version {version}: version {champion} was not looked at yet"
        assert (told in text) is (version != champion)


@needs_browser
def test_somebody_signed_in_goes_from_the_console_to_the_look_to_the_report(home, serve, tmp_path):
    keep_look(home)
    _, key = create_key(home.ledger, "ann", Role.VIEWER, "ann")
    with serve(home.settings) as (_, address), open_browser(tmp_path) as tab:
        tab.open(f"{address}/")
        assert tab.evaluate("location.pathname") == "/login"
        tab.evaluate(f"document.querySelector('input').value = '{key}'; document.querySelector('form').submit()")
        tab.wait(lambda: tab.evaluate("document.querySelector('section a')?.textContent") == "This look")
        assert "alert(1)" in tab.evaluate("document.querySelector('main').innerText")
        tab.evaluate("document.querySelector('section a').click()")
        tab.wait(lambda: tab.evaluate("document.title").startswith("toy, version 1: drift"))
        tab.evaluate("[...document.querySelectorAll('a')].pop().click()")
        tab.wait(lambda: tab.evaluate("document.getElementById('full')?.textContent") == "full")
        assert tab.dialogs == []


@needs_browser
def test_the_console_fits_a_phone(home, serve, tmp_path):
    keep_look(home)
    window = {"from": "2011-04-04T00:00:00+00:00", "to": "2011-04-11T00:00:00+00:00", "answered": 12345, "labelled": 0,
              "coverage": 0.0, "metric": None, "estimate": 31.0, "low": 27.0, "high": 35.0}  # fmt: skip
    said = {
        "coverage": {"answered": 12345, "labelled": 0, "share": 0.0}, "windows": [window], "estimate": None,
        "impact": {"harm": None, "check": None, "columns": [], "reason": "Not known."},
    }  # fmt: skip
    QualityRows(home.ledger).record_look("toy", 1, said, AT)
    with serve(home.settings) as (_, address), open_browser(tmp_path) as tab:
        tab.look_like(390, 800)
        tab.open(f"{address}/")
        tab.wait(lambda: "12,345" in (tab.evaluate("document.querySelector('main').innerText") or ""))
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        shown = "getComputedStyle(document.querySelector('td[data-head=\"estimated before\"]'), '::before').content"
        assert "estimated before" in tab.evaluate(shown)


@needs_browser
def test_evidentlys_report_opens_without_a_network_and_runs_apart_from_us(home, serve, tmp_path):
    pytest.importorskip("evidently")
    from treadle.pages.reports import evidently_html

    rng = np.random.default_rng(0)
    rows = {"x": rng.normal(size=300), f"c{ATTACK}": rng.choice(["a", ATTACK], 300), "y": rng.normal(size=300)}
    frame = pd.DataFrame(rows)
    schema = infer_schema(frame, Data(source="x", target="y"), "tabular-regression")
    path = home.settings.reports_dir / "toy" / "drift.html"
    assert evidently_html(frame, frame.tail(200), schema, path) is None
    with serve(home.settings) as (_, address), open_browser(tmp_path) as tab:
        tab.open(f"{address}/reports/toy/drift.html")
        tab.wait(lambda: "Drift" in (tab.evaluate("document.body.innerText") or ""))
        assert tab.evaluate("origin") == "null"
        assert tab.evaluate("fetch('/console.json').then(() => 'reached', () => 'not reached')") == "not reached"
        assert tab.dialogs == []
        assert [one for one in tab.asked if not one.startswith((address, "data:", "blob:"))] == []
        assert httpx.get(f"{address}/healthz").status_code == 200
