"""What a look says of quality, in plain words: the same sentences in Prefect, the console and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BLIND = "An estimate cannot see that the same inputs have come to mean something else (concept drift); only labels can."


def say_quality(said: Mapping[str, Any]) -> list[str]:
    """Sentences about the labels, the estimate and its record, and what moved inputs cost.

    Args:
        said: `coverage`, `estimate` and `impact` of a look.
    """
    return [_say_coverage(said["coverage"]), _say_estimate(said["estimate"]), str(said["impact"]["reason"])]


def _say_coverage(coverage: Mapping[str, Any]) -> str:
    if not coverage["answered"]:
        return "Nothing was answered yet."
    text = (
        f"Labels have come for {coverage['labelled']:,} of {coverage['answered']:,} answers ({coverage['share']:.0%})."
    )
    if coverage.get("early"):
        text += f" {coverage['early']:,} labels wait for their prediction."
    if coverage.get("expired"):
        text += f" {coverage['expired']:,} labels were dropped, since no prediction came for them in 30 days."
    return text


def _say_estimate(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return "The quality of these answers cannot be estimated: the version kept nothing to do it by, or answered nothing."
    how = {"confidence": "the model's own confidence", "loss": "how large its errors were on rows like these"}
    record = estimate["track_record"]
    text = (
        f"Estimated {estimate['metric']}: {estimate['value']:.4g} ({estimate['low']:.4g} to {estimate['high']:.4g}), "
        f"by {how[estimate['method']]}. "
    )
    if record:
        text += (
            f"In {record['windows']} earlier windows it was off by {record['mean_absolute_error']:.3g} on average, "
            f"and the truth was inside in {record['inside']:.0%}. "
        )
    else:
        text += "No label has come yet to check it by. "
    if estimate["outside"] >= 0.01:
        text += f"{estimate['outside']:.0%} of the rows have values that the model never learned from. "
    return text + BLIND
