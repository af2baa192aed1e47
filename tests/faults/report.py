"""The table of faults: each test opens a row, counts what it tried and what was survived, and adds its figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One fault.

    Attributes:
        fault: What was done to the service.
        tried: How often.
        survived: How often it held.
        figures: What was measured on the way.
    """

    fault: str
    tried: int = 0
    survived: int = 0
    figures: dict[str, Any] = field(default_factory=dict)

    def count(self, held: bool) -> bool:
        """Count one trial; its outcome again."""
        self.tried += 1
        self.survived += held
        return held

    def note(self, **figures: Any) -> None:
        """Add figures."""
        self.figures |= figures

    def close(self, passed: bool) -> None:
        """The test is over: one without trials is one trial, and one that failed has not survived all."""
        if self.tried == 0:
            self.count(passed)
        if not passed and self.survived == self.tried:
            self.survived -= 1

    def line(self) -> tuple[str, str, str]:
        """The cells of the table."""
        return (
            self.fault,
            f"{self.survived}/{self.tried}",
            ", ".join(f"{k} {_short(v)}" for k, v in self.figures.items()),
        )


class Table:
    """All rows of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def open(self, fault: str) -> Row:
        """A new row."""
        self.rows.append(Row(fault))
        return self.rows[-1]

    @property
    def tried(self) -> int:
        """Faults tried."""
        return sum(row.tried for row in self.rows)

    @property
    def survived(self) -> int:
        """Faults survived."""
        return sum(row.survived for row in self.rows)

    def text(self) -> list[str]:
        """The table as it is printed."""
        lines = [row.line() for row in self.rows]
        widths = [max((len(line[k]) for line in lines), default=0) for k in (0, 1)]
        shown = [f"{fault:<{widths[0]}}  {held:>{widths[1]}}  {figures}".rstrip() for fault, held, figures in lines]
        return [*shown, f"faults survived {self.survived}/{self.tried}"]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"survived": self.survived, "tried": self.tried, "rows": [asdict(row) for row in self.rows]}
        path.write_text(json.dumps(said, indent=1) + "\n")


def _short(value: Any) -> str:
    """A figure as people read it.

    >>> _short(0.51234), _short(123.4), _short(7)
    ('0.51', '123', '7')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
