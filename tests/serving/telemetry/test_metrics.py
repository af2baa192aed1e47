"""Metrics say whether the service is up and fast, and whether its models are right."""

from datetime import UTC, datetime

from serving.telemetry.metrics import Metrics
from serving.telemetry.standing import Standing, standings
from treadle.ledger import VerdictRow

AT = datetime(2024, 5, 1, tzinfo=UTC)


def value(metrics: Metrics, line: str) -> float | None:
    found = [said for said in metrics.text().decode().splitlines() if said.startswith(line)]
    return float(found[0].split()[-1]) if found else None


def test_the_last_verdict_is_told_in_numbers(home):
    quality = {"reference": 2.0, "window": 3.0, "ratio": 1.5, "lower": 1.2, "labelled": 40}
    columns = [{"name": "temp", "drifted": True}, {"name": "season", "drifted": False}]
    figures = {"quality": quality, "columns": columns}
    home.ledger.record_verdict("toy", VerdictRow(1, "quality-loss", "worse", 100, 40, figures, None, AT))
    assert standings(home.ledger) == [Standing("toy", 1, "quality-loss", AT.timestamp(), 0.4, 1, 1.5)]
    metrics = Metrics()
    metrics.judge(standings(home.ledger))
    assert value(metrics, 'treadle_quality_ratio{model="toy",version="1"}') == 1.5
    assert value(metrics, 'treadle_label_coverage{model="toy",version="1"}') == 0.4
    assert value(metrics, 'treadle_verdict{model="toy",verdict="quality-loss"}') == 1
    metrics.judge([Standing("toy", 1, "ok", AT.timestamp(), 0.4, 0, None)])
    assert value(metrics, 'treadle_verdict{model="toy",verdict="quality-loss"}') is None
    assert value(metrics, 'treadle_quality_ratio{model="toy"') is None
    assert value(metrics, 'treadle_verdict{model="toy",verdict="ok"}') == 1


def test_a_model_that_nobody_looked_at_has_no_standing(home):
    assert standings(home.ledger) == []
