"""Windows of quality: equal spans of prediction time, so that labels that come late change what they belong to.

A window's estimate is made when it has closed and kept as it was; the truth comes beside it when labels do, and the two
together are the estimate's track record. What is not known is `None`, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from treadle.ledger import QualityWindow

SPANS = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(weeks=1), timedelta(weeks=4))
LONG_SPANS = (timedelta(weeks=12), timedelta(weeks=52))
"""For streams so slow that four weeks hold too few rows to measure anything: one a day, say."""
SHOWN = 12
"""Closed windows that a look shows."""
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Grid:
    """Spans of one length, counted from a Monday.

    Attributes:
        span: The length of one.
    """

    span: timedelta

    def number(self, moment: datetime) -> int:
        """The span that a moment is in."""
        return (moment - MONDAY) // self.span

    def begin(self, number: int) -> datetime:
        """When a span begins."""
        return MONDAY + number * self.span


def grid_of(oldest: datetime, newest: datetime, rows: int, wanted: int, least: int = 1) -> Grid:
    """The longest span that is no longer than the time in which so many rows come, and long enough to measure by.

    Args:
        oldest: Event time of the first of some newest rows.
        newest: Event time of the last.
        rows: How many these are.
        wanted: How many a look covers.
        least: Labelled rows without which nothing is measured.

    >>> grid_of(datetime(2011, 4, 1, tzinfo=UTC), datetime(2011, 4, 15, tzinfo=UTC), 336, 336).span.days
    7
    >>> grid_of(datetime(2011, 1, 1, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC), 365, 1000, least=50).span.days
    84
    """
    each = (newest - oldest) / max(1, rows)
    usual = max((span for span in SPANS if span <= each * wanted), default=SPANS[0])
    if usual >= each * least:
        return Grid(usual)
    return Grid(min((span for span in (*SPANS, *LONG_SPANS) if span >= each * least), default=LONG_SPANS[-1]))


def track_record(windows: Sequence[QualityWindow]) -> dict[str, Any] | None:
    """How well estimates did where the truth has come since; `None` where it has not."""
    pairs = [(w.value, w.estimate) for w in windows if w.value is not None and w.estimate is not None]
    if not pairs:
        return None
    return {
        "windows": len(pairs),
        "mean_absolute_error": sum(abs(said["value"] - value) for value, said in pairs) / len(pairs),
        "inside": sum(said["low"] <= value <= said["high"] for value, said in pairs) / len(pairs),
    }


def figures(window: QualityWindow) -> dict[str, Any]:
    """One window as plain data: `metric` is what was measured, `estimate` what was expected before."""
    estimate = window.estimate or {}
    return {
        "from": window.begin.isoformat(),
        "to": window.end.isoformat(),
        "answered": window.answered,
        "labelled": window.labelled,
        "coverage": window.labelled / window.answered if window.answered else None,
        "metric": window.value,
        "estimate": estimate.get("value"),
        "low": estimate.get("low"),
        "high": estimate.get("high"),
    }
