"""A turn of the wheel in plain words: no figure with sixteen digits, no record as Python writes it."""

import re

from console.answers import trained
from tasks.turn import _page

SUMMARY = {
    "project": "churn", "run_id": "r", "version": 2, "decision": "promoted", "reason": "It is better.", "metric": "log_loss",
    "challenger": 0.695712345, "champion": None, "interval": (0.00992771683, 0.0477), "parity": 0.00099891,
    "rows": {"train": 1730, "valid": 432, "test": 540, "holdout": 298, "quarantined": 0},
    "trials": {"done": 25, "pruned": 5}, "search": {"kind": "full", "why": "The first version."},
    "history": {"chosen": "all", "tried": [{"name": "all", "error": 0.73, "folds": [0.69]}], "why": "All is best."},
    "family": "gradient-boosting", "seconds": 15.97, "cpu_seconds": 14.37,
}  # fmt: skip
LINES = {
    "version": "2 (gradient-boosting)",
    "log_loss of the challenger": "0.6957",
    "log_loss of the champion": "—",
    "rows": "1,730 train, 432 valid, 540 test, 298 held out, 0 quarantined",
    "learned from": "All is best.",
    "trials": "25 done, 5 pruned. The first version.",
    "ONNX parity": "0.0009989 of what is allowed",
    "cost": "16 s, 14 CPU seconds",
}


def test_the_command_and_the_prefect_ui_say_the_same():
    said, page = trained(SUMMARY, None), _page(SUMMARY)
    assert said.startswith("churn: promoted\n\nIt is better.\n")
    for name, words in LINES.items():
        assert f"| {name} | {words} |" in page
        assert re.search(rf"^{re.escape(name)} +{re.escape(words)}$", said, re.MULTILINE)
    assert "{" not in said + page
