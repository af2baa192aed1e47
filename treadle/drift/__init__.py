"""Does the model still hold? A calibrated verdict on a window of predictions, against what was normal at training.

Every threshold comes from the reference itself. Pure functions on tables; nothing is stored here. docs/drift.md says
in plain words how the verdict is made, and how often it errs.
"""

from treadle.drift.records import (
    Baseline,
    ColumnDrift,
    Finding,
    Judgement,
    Look,
    Persistence,
    Quality,
    Reference,
    Window,
)
from treadle.drift.rule import judge, say_waiting

__all__ = [
    "Baseline",
    "ColumnDrift",
    "Finding",
    "Judgement",
    "Look",
    "Persistence",
    "Quality",
    "Reference",
    "Window",
    "judge",
    "say_waiting",
]
