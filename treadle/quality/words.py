"""What a look says of quality, in plain words: the same sentences in Prefect, the console, on the page and at the command line.

What is not known is left out here, and said by those who know what it would have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treadle.wording import figure, number

BLIND = "An estimate cannot see that the same inputs have come to mean something else (concept drift); only labels can."
WAYS = {"confidence": "the model's own confidence", "loss": "how large its errors were on rows like these"}
LEAST_OUTSIDE = 0.01  # of the rows, with values that the model never learned from


def say_quality(said: Mapping[str, Any]) -> list[str]:
    """Sentences about the labels, the estimate and its record, and what moved inputs cost.

    Args:
        said: `coverage`, `estimate` and `impact` of a look.
    """
    estimate = say_estimate(said["estimate"])
    unknown = (
        "The quality of these answers cannot be estimated: the version kept nothing to do it by, or answered nothing."
    )
    return [
        say_coverage(said["coverage"]) or "Nothing was answered yet.",
        estimate or unknown,
        str(said["impact"]["reason"]),
    ]


def say_coverage(coverage: Mapping[str, Any]) -> str | None:
    """For how many answers labels have come; `None` where nothing was answered."""
    if not coverage.get("answered"):
        return None
    share = figure(coverage.get("share"))
    known = f" ({share:.0%})" if share is not None else ""
    text = f"Labels have come for {coverage.get('labelled') or 0:,} of {coverage['answered']:,} predictions{known}."
    if early := coverage.get("early"):
        text += " 1 label waits for its prediction." if early == 1 else f" {early:,} labels wait for their prediction."
    if expired := coverage.get("expired"):
        dropped = "1 label was dropped" if expired == 1 else f"{expired:,} labels were dropped"
        text += f" {dropped}, since no prediction came for {'it' if expired == 1 else 'them'} in 30 days."
    return text


def say_estimate(estimate: Mapping[str, Any] | None) -> str | None:
    """What is to be expected of the answers without their labels, and how well that went so far; `None` where it is not known."""
    estimate = estimate or {}
    value, low, high, normal = (figure(estimate.get(key)) for key in ("value", "low", "high", "normal"))
    if value is None:
        return None
    between = f" ({number(low)} to {number(high)})" if low is not None and high is not None else ""
    way = f", by {WAYS[estimate['method']]}" if estimate.get("method") in WAYS else ""
    usual = "" if normal is None else f"; {number(normal)} was normal"
    text = f"Estimated {estimate.get('metric', 'metric')} without labels: {number(value)}{between}{way}{usual}. "
    text += _say_record(estimate.get("track_record"))
    if (outside := figure(estimate.get("outside")) or 0.0) >= LEAST_OUTSIDE:
        text += f"{outside:.0%} of the rows have values that the model never learned from. "
    return text + BLIND


def _say_record(record: Mapping[str, Any] | None) -> str:
    error = figure((record or {}).get("mean_absolute_error"))
    if record is None or error is None:
        return "No window has labels enough yet to check it by. "
    windows, inside = record.get("windows"), figure(record.get("inside"))
    truth = "" if inside is None else f", and the truth was inside in {inside:.0%}"
    return f"In {windows} earlier window{'' if windows == 1 else 's'} it was off by {number(error)} on average{truth}. "
