"""Durations as people write them, `6h` or `7d`, in project.yaml and on the command line."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: object) -> timedelta:
    """Read a duration such as `90s`, `15m`, `6h`, `7d` or `2w`.

    Raises:
        ValueError: `value` is not a whole number followed by one of s, m, h, d, w.

    >>> parse_duration("6h")
    datetime.timedelta(seconds=21600)
    """
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)([smhdw])", str(value).strip())
    if not match:
        raise ValueError(f"'{value}' is not a duration; write a number and s, m, h, d or w, such as 6h")
    return timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])


def format_duration(value: timedelta) -> str:
    """Write a duration in its largest whole unit.

    >>> format_duration(timedelta(hours=36))
    '36h'
    """
    seconds = int(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{seconds // _UNITS_S[unit]}{unit}"
    return f"{seconds}s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)]
"""Written as `90s`, `15m`, `6h`, `7d` or `2w`."""


def check_some(value: timedelta) -> timedelta:
    """Return a duration that is longer than nothing.

    Raises:
        ValueError: It is 0.
    """
    if not value:
        raise ValueError("nothing can be done every 0 seconds; write how much time shall lie between, such as 1h or 1d")
    return value


Interval = Annotated[Duration, AfterValidator(check_some)]
"""A duration between two of many, longer than 0."""
