"""A look at the calls of one ready model: are the newest like the first? By the same rule that judges our own models.

A call is a row: sizes and levels of its inputs, how much was found, how sure the answer was; never an input. Nothing is
retrained by it: a ready model is as its authors made it, and a person is told that it is asked about other things.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from treadle.drift import Finding, Judgement, Look, Reference, Window, judge, say_waiting
from treadle.ledger import ReadyCall, ReadyLook
from treadle.project import Watch
from treadle.tables.schema import Column

FIRST = 1000
"""Calls of a version that are what is normal."""
NEWEST = 200
"""Calls that one look covers."""
LEAST_FIRST = 300
AGAIN = 50
"""New calls without which a model is not looked at again: the same calls twice confirm nothing."""
RULES = Watch(window=NEWEST, min_rows=100)
MOST_LOOKS = 50
MOST_SAID = 3
CONFIDENCE = "confidence"


def needed() -> int:
    """Calls from which on a version is judged."""
    return LEAST_FIRST + RULES.min_rows


def too_few(calls: int) -> str:
    """Why a version with so many calls is not judged."""
    return f"{calls} calls of this version; {needed()} are needed to judge."


def split(calls: int) -> tuple[int, int]:
    """How many of a version's calls are the reference, and how many the window; no call is in both.

    >>> split(5000), split(450), split(400)
    ((1000, 200), (300, 150), (300, 100))
    """
    window = min(NEWEST, max(RULES.min_rows, calls - LEAST_FIRST))
    return min(FIRST, calls - window), window


def judge_calls(
    first: Sequence[ReadyCall], newest: Sequence[ReadyCall], past: Sequence[ReadyLook], at: datetime
) -> Judgement:
    """Judge the newest calls of a version by its first.

    Args:
        first: In the order of time.
        newest: In the order of time, none of the first.
        past: Looks at the same version, newest first.
        at: Event time of the look.
    """
    if len(first) < LEAST_FIRST or len(newest) < RULES.min_rows:
        return Judgement("insufficient-data", too_few(len(first) + len(newest)))
    normal = frame_of(first)
    known = [str(name) for name in normal if normal[name].notna().mean() >= 0.5]
    current = frame_of(newest).reindex(columns=known)
    none = np.empty(0)
    return judge(
        Reference(normal[known], timed=True, losses=none, loss_days=none),
        Window(current, losses=none, loss_days=none),
        [Column(name=name, kind="number", nullable=True) for name in known],
        RULES,
        past=[_remembered(look) for look in past],
        at=at,
    )


def frame_of(calls: Sequence[ReadyCall]) -> pd.DataFrame:
    """Calls as rows (n, facts), missing where a call has no such fact."""
    rows = [call.facts | {CONFIDENCE: call.confidence} for call in calls]
    return pd.DataFrame(rows, dtype="float64")


def in_words(found: Judgement, first: int, newest: int) -> str:
    """The verdict of a look, for a person."""
    if found.verdict in ("insufficient-data", "invalid"):
        return found.reason
    said = [f.said for f in moved(found)[:MOST_SAID]]
    both = f"the newest {newest:,} calls", f"the first {first:,} of this version"
    if not said:
        return f"{both[0].capitalize()} are like {both[1]}."
    if found.verdict == "drift":
        return f"{both[0].capitalize()} are unlike {both[1]}: {'; '.join(said)}."
    wait = "" if found.persistence is None else say_waiting(found.persistence)
    return f"{both[0].capitalize()} may be unlike {both[1]}: {'; '.join(said)}.{wait}"


def moved(found: Judgement) -> list[Finding]:
    """What moved, that which exceeds most first."""
    return sorted((f for f in found.findings if f.drifted), key=lambda f: f.threshold - f.statistic)


def _remembered(look: ReadyLook) -> Look:
    found = [f for f in look.figures.get("findings", ()) if f["drifted"]]
    return Look(look.at, frozenset(f"{f['kind']}:{f['name']}" for f in found))
