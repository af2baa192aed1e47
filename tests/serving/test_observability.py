"""The dashboard, the alerts and the page about metrics speak of metrics and labels that a running service exposes."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.conftest import ROW, Home
from treadle.keys import Role, create_key
from treadle.ledger import VerdictRow
from treadle.settings import CHECKOUT

DOCS = CHECKOUT / "docs"
BOARD = json.loads((DOCS / "grafana" / "treadle.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ALERTS = yaml.safe_load((DOCS / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
SCRAPE = yaml.safe_load((DOCS / "prometheus" / "scrape.yaml").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
BY_PROMETHEUS = {"up": set()}
TARGET = {"job", "instance"}
"""Labels that Prometheus itself gives to whatever it scrapes."""


def tree(node: object) -> Iterator[object]:
    """A PromQL expression and all in it."""
    yield node
    inside = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector", "param")]
    for child in [*inside, *(getattr(node, "args", None) or [])]:
        if child is not None:
            yield from tree(child)


def parsed(expression: str) -> list[object]:
    return list(tree(promql_parser.parse(expression.replace("$__rate_interval", "5m"))))


def selectors(node: object) -> list[promql_parser.VectorSelector]:
    return [found for found in tree(node) if isinstance(found, promql_parser.VectorSelector)]


EXPRESSIONS = [
    *(pytest.param(target["expr"], id=panel["title"]) for panel in PANELS for target in panel["targets"]),
    *(pytest.param(note["expr"], id=note["name"]) for note in BOARD["annotations"]["list"]),
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """Names of the samples of a service that answered, refused and was judged, with their labels."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.register()
    home.promote()
    quality = {"reference": 2.0, "window": 3.0, "ratio": 1.5, "lower": 1.2, "labelled": 40}
    figures = {"quality": quality, "columns": [{"name": "temp", "drifted": True}]}
    at = datetime(2024, 5, 1, tzinfo=UTC)
    home.ledger.record_verdict("toy", VerdictRow(1, "quality-loss", "worse", 100, 40, figures, None, at))
    with TestClient(create_app(home.settings)) as client:
        assert client.post("/v1/models/toy/predict", json={"rows": [ROW]}).status_code == 200
        assert client.post("/v1/models/toy/predict", json={"rows": []}).status_code == 422
        assert client.post("/v1/ready/detect-language", json={"inputs": "Guten Morgen"}).status_code == 200
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_is_exposed(exposed, expression):
    known = exposed | BY_PROMETHEUS
    asked = selectors(promql_parser.parse(expression.replace("$__rate_interval", "5m")))
    assert asked
    for selector in asked:
        assert selector.name in known
        assert {matcher.name for matcher in selector.matchers.matchers} <= known[selector.name] | TARGET


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_groups_by_labels_that_are_there(exposed, expression):
    known = exposed | BY_PROMETHEUS
    for node in parsed(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            for selector in selectors(node.expr):
                assert set(node.modifier.labels) <= known[selector.name] | TARGET


def test_legends_name_labels_that_the_expression_keeps():
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = [
                set(n.modifier.labels) for n in parsed(target["expr"]) if isinstance(n, promql_parser.AggregateExpr)
            ]
            assert wanted <= (set.union(*kept) if kept else TARGET), panel["title"]


def test_the_dashboard_is_one_that_grafana_imports():
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == [
        "Is it up?",
        "Is it fast?",
        "Is it right?",
    ]
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["source", "job", "model"]
    identifiers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["description"]
        assert all(target["datasource"]["uid"] == "${source}" for target in panel["targets"])


def test_every_alert_says_what_it_means_and_what_to_do():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) > 0
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}
        assert "for" not in rule or re.fullmatch(r"\d+[smhd]", rule["for"])


def test_prometheus_comes_in_with_a_viewers_key_as_the_example_says(tmp_path):
    home = Home(tmp_path)
    _, shown = create_key(home.ledger, "prometheus", Role.VIEWER, "ann")
    (job,) = SCRAPE["scrape_configs"]
    with TestClient(create_app(home.settings)) as client:
        ask = partial(client.get, job["metrics_path"])
        assert ask().status_code == 401
        said = f"{job['authorization']['type']} {shown}"
        assert ask(headers={"Authorization": said}).status_code == 200
    assert SCRAPE["rule_files"] == ["alerts.yaml"]
    assert f'job="{job["job_name"]}"' in RULES[0]["expr"]


def test_the_page_explains_every_metric_and_no_other(exposed):
    text = (DOCS / "observability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(treadle_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed if not name.endswith("_created")}
    assert {name for name, _ in rows} == families
    for name, labels in rows:
        of = exposed.get(name, exposed.get(f"{name}_count"))
        assert set(filter(None, labels.strip().split(", "))) == of, name
