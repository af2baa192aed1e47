"""A look as a person reads it: what is not known is a dash, and what an estimate cannot see is said."""

from console.answers import watched
from treadle.quality.words import BLIND

WINDOW = {"from": "2011-04-04", "to": "2011-04-11", "answered": 168, "labelled": 0, "coverage": 0.0, "metric": None}
LOOK = {
    "project": "bikes",
    "verdict": "drift",
    "columns": [{"name": "temp", "statistic": 0.4, "threshold": 0.2, "drifted": True}],
    "coverage": {"answered": 336, "labelled": 0, "share": 0.0, "early": 0, "expired": 0},
    "windows": [WINDOW],
    "estimate": {
        "metric": "mae", "value": 31.0, "low": 27.0, "high": 35.0, "method": "loss", "outside": 0.0, "track_record": None,
    },
    "impact": {"harm": 0.12, "reason": "The model uses what moved."},
}  # fmt: skip


def test_quality_is_told_in_sentences_and_by_window():
    text = watched(LOOK)
    assert "Labels have come for 0 of 336 predictions (0%)." in text
    assert "Estimated mae now: 31, between 27 and 35." in text
    assert BLIND in text
    assert "The model uses what moved." in text
    (line,) = [line for line in text.splitlines() if line.startswith("2011-04-04")]
    assert line.split() == ["2011-04-04", "2011-04-11", "168", "0", "0", "—"]


def test_a_look_without_quality_is_told_without_it():
    text = watched({"project": "bikes", "verdict": "ok", "columns": []})
    assert text.startswith("bikes: ok")
    assert BLIND not in text
