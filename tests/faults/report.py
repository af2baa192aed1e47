"""The table of faults: each test opens a row, counts what it tried and what was survived, and adds its figures.

`python -m tests.faults.report .treadle/faults.json [.treadle/soak.json]` puts the tables of such files into docs/faults.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from treadle.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "faults.md"
HEADING = "## One run"


@dataclass
class Row:
    """One fault.

    Attributes:
        fault: What was done to the service.
        tried: How often.
        survived: How often it held.
        examined: Of these, requests that were made up to be bad or odd.
        failed_5xx: Of these, those that were answered with a 5xx.
        figures: What was measured on the way.
    """

    fault: str
    tried: int = 0
    survived: int = 0
    examined: int = 0
    failed_5xx: int = 0
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

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows: list[Row] = list(rows)

    def open(self, fault: str) -> Row:
        """A new row."""
        self.rows.append(Row(fault))
        return self.rows[-1]

    def sums(self) -> list[str]:
        """What the rows add up to."""
        survived, tried = sum(row.survived for row in self.rows), sum(row.tried for row in self.rows)
        said = [f"faults survived {survived:,}/{tried:,}"]
        examined, failed = sum(row.examined for row in self.rows), sum(row.failed_5xx for row in self.rows)
        if examined:
            said.append(f"bad inputs tried {examined:,}, answered with 5xx {failed:,}")
        lost = [row.figures["lost"] for row in self.rows if "lost" in row.figures]
        if lost:
            said.append(f"acknowledged predictions lost {sum(lost):,}")
        return said

    def text(self) -> list[str]:
        """The table as it is printed."""
        lines = [row.line() for row in self.rows]
        widths = [max((len(line[k]) for line in lines), default=0) for k in (0, 1)]
        shown = [f"{fault:<{widths[0]}}  {held:>{widths[1]}}  {figures}".rstrip() for fault, held, figures in lines]
        return [*shown, *self.sums()]

    def markdown(self) -> str:
        """The table as it stands in the documentation."""
        lines = [" | ".join(cell.replace("|", "/") for cell in row.line()) for row in self.rows]
        table = ["| fault | survived | figures |", "|---|---|---|", *(f"| {line} |" for line in lines)]
        return "\n".join([*table, "", *(f"- {said}" for said in self.sums())])

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"commit": _commit(), "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n")


def _commit() -> str:
    """The commit that was tried, if git knows it."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def _short(value: Any) -> str:
    """A figure as people read it.

    >>> _short(0.51234), _short(123.4), _short(7)
    ('0.51', '123', '7')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"


def put(page: str, files: Sequence[str]) -> str:
    """A page with the tables of some runs, each as JSON, as its last section."""
    runs = [json.loads(file) for file in files]
    tables = [Table(Row(**row) for row in run["rows"]).markdown() for run in runs]
    commits = ", ".join(dict.fromkeys(run["commit"] for run in runs))
    said = f"Commit {commits}, on two cores."
    return "\n\n".join([page.partition(HEADING)[0].rstrip(), HEADING, said, *tables]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(), [Path(name).read_text() for name in sys.argv[1:]]))
