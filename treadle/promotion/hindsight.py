"""Hindsight: a new version answers again what the one before answered, so that labels judge it as soon as they come.

Only rows that are newer than all it learned from: what it has seen says nothing of how good it is. Works on arrays; opens
no version and reads no ledger.
"""

from __future__ import annotations

import numpy as np


def judging(
    version: int, answered_by: np.ndarray, times: np.ndarray, learned_until: np.datetime64 | None
) -> np.ndarray:
    """Which labelled rows judge a version: those that it answered, and those of others that it cannot have learned from.

    Labels come late. What the version before answered in the days before a swap is labelled in the days after it, and was
    not there to learn from; with the new version's answers to the same rows it is judged that much earlier than by rows
    that it answered first.

    Args:
        version: The champion.
        answered_by: The version that answered each row (n,); 0 where none did.
        times: Event times (n,), datetime64.
        learned_until: Event time of the newest row that the version learned from; `None` is not known, and then only its own
            answers judge it.

    Returns:
        A mask (n,).

    >>> days = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="datetime64[us]")
    >>> judging(2, np.array([1, 1, 2]), days, days[0]).tolist(), judging(2, np.array([1, 1, 2]), days, None).tolist()
    ([False, True, True], [False, False, True])
    """
    own = answered_by == version
    if learned_until is None:
        return own
    return own | ((answered_by > 0) & (times > learned_until))
