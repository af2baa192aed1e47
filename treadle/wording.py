"""Names, values and numbers as people read them, the same on pages, in alerts and at the command line. Knows nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MOST_NAMES = 8
LONGEST_NAME = 60
LONGEST_VALUE = 40


def short(text: object, most: int = LONGEST_NAME) -> str:
    """A name on one line, without what terminals and chats obey, and not too long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def some(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Some of the names.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(short(name) for name in names[:most]) + more


def quoted(value: object) -> str:
    """A value of a row in quotes, on one line and not too long."""
    return f"'{short(value, LONGEST_VALUE)}'"


def number(value: float) -> str:
    """Four digits that tell something.

    >>> number(1234567.0), number(1834.4), number(0.123456)
    ('1,235,000', '1,834', '0.1235')
    """
    return f"{float(f'{value:.4g}'):,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def figure(value: Any) -> float | None:
    """A finite number, or `None`: neither NaN nor text is a figure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
