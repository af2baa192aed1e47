"""A scheduler that looks again and again, as a process of its own: `python -m tests.faults.scheduler PROJECT N N …`.

Each N is one look that says drift, N * 60 ms after the storm began; it goes through the real step. A line on stdout says
that a look was answered.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

BEGAN = datetime(2024, 5, 1, 12, tzinfo=UTC)
LOOK = {"verdict": "drift", "reason": "inputs moved.", "impact": {"harm": None}}


def main() -> None:
    """Look."""
    from tasks.decide import decide_retrain

    project, *numbers = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.stdout.write("ready\n")
    for number in map(int, numbers):
        at = (BEGAN + timedelta(milliseconds=60 * number)).isoformat()
        said = decide_retrain.fn(project, at, LOOK)
        sys.stdout.write(f"{number} {said['retrain']} {said['suppressed']}\n")


if __name__ == "__main__":
    main()
