"""The bootstrap's draws: row indexes, drawn with replacement, by blocks where rows depend on each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def resamples(n: int, blocks: np.ndarray | None, rng: np.random.Generator, samples: int) -> Iterator[np.ndarray]:
    """Row indexes of each bootstrap sample, one at a time: all of them would be gigabytes on a large window.

    Args:
        n: Rows.
        blocks: A label a row (n,), such as its day: rows of one block are drawn together. `None`, or one block, draws rows.
        rng: Where chance comes from.
        samples: How many.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993); over blocks, H. Künsch (1989).
    """
    groups = [np.flatnonzero(blocks == block) for block in np.unique(blocks)] if blocks is not None else []
    for _ in range(samples):
        if len(groups) < 2:
            yield rng.integers(0, n, n)
        else:
            yield np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
