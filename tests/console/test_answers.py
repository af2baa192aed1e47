"""A look as a person reads it: what is not known is a dash, and what an estimate cannot see is said."""

import re

from console.answers import trained, watched
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

TURN = {
    "project": "titanic", "version": 1, "decision": "promoted", "reason": "It is better.", "metric": "log_loss",
    "challenger": 0.1, "champion": None, "family": "linear", "parity": 0.01, "seconds": 9.0, "cpu_seconds": 5.0,
    "rows": {"train": 60, "valid": 10, "test": 20, "holdout": 10, "quarantined": 0},
    "findings": ["Where 'boat' is there, the target is yes.", "5 rows repeat another row in every column."],
    "trials": {"done": 30, "pruned": 0}, "search": {"why": "The first version."},
    "history": {"chosen": "all", "why": "All history: there is no age to go by."},
}  # fmt: skip


def test_a_turn_says_what_is_odd_about_its_table_and_where_to_look():
    text = trained(TURN, None)
    assert "Where 'boat' is there, the target is yes. 5 rows repeat" in text
    assert "all: All" not in text
    assert text.endswith("Next: treadle up, then the console; or treadle models titanic")
    text = trained(TURN | {"findings": []}, "http://127.0.0.1:8000")
    assert "look at the table" not in text
    assert "http://127.0.0.1:8000/docs" in text
    assert "treadle up" not in text


def test_quality_is_told_in_sentences_and_by_window():
    text = watched(LOOK)
    assert "Labels have come for 0 of 336 predictions (0%)." in text
    assert "Estimated mae without labels: 31 (27 to 35), by how large its errors were on rows like these." in text
    assert BLIND in text
    assert "The model uses what moved." in text
    (line,) = [line for line in text.splitlines() if line.startswith("2011-04-04")]
    assert re.split(" {2,}", line) == ["2011-04-04 UTC and 2011-04-11 UTC", "0 of 168", "unknown", "unknown"]


def test_a_look_without_quality_is_told_without_it():
    text = watched({"project": "bikes", "verdict": "ok", "columns": []})
    assert text.startswith("bikes: ok")
    assert BLIND not in text
