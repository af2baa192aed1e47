"""The breaker: after so many challengers in a row that were turned down, none is tried for a while.

It has no state of its own: what became of the challengers is in the ledger, and so is that a person has closed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from treadle.ledger import Ledger
from treadle.ledger import triggers as rows
from treadle.ledger.audit import record
from treadle.ledger.triggers import Judged
from treadle.project import Project
from treadle.retraining.policy import Streak, breaker_is_open


def turned_down_in_a_row(found: Sequence[Judged]) -> list[datetime]:
    """When each challenger since the last success, or since the breaker was closed, was turned down; newest first.

    One that was promoted and rolled back again is turned down too.

    Args:
        found: What became of challengers, newest first.
    """
    times: list[datetime] = []
    undone = False
    for one in found:
        if one.kind in ("kept", "rejected", "rolled-back", "rollback"):
            times.append(one.at)
            undone = undone or one.kind.startswith("roll")
        elif one.kind == "promoted" and undone:
            undone = False
        else:
            break
    return times


def streak_of(ledger: Ledger, project: Project, found: Sequence[Judged], at: datetime) -> Streak | None:
    """The challengers turned down in a row, and how many labels have come since; `None` when the last one was not."""
    turned_down = turned_down_in_a_row(found)
    if not turned_down:
        return None
    came = ledger.count_labels_since(project.name, turned_down[0], until=at)
    return Streak(len(turned_down), turned_down[0], came)


def say_breaker(project: Project, at: datetime, streak: Streak | None) -> str | None:
    """Why no challenger is tried now, in plain words; `None` while the breaker is closed."""
    if streak is None or not breaker_is_open(project, at, streak):
        return None
    rules = project.retrain
    return (
        f"{streak.turned_down} challengers in a row were turned down; none is tried before "
        f"{streak.since + rules.breaker_time:%Y-%m-%d %H:%M} or {rules.breaker_labels} labels after the last "
        f"({streak.new_labels} so far), unless `treadle governor close {project.name}` closes the breaker."
    )


def close_breaker(ledger: Ledger, project: Project, who: str, at: datetime | None = None) -> int:
    """Let the next retrain through although challengers were turned down.

    Args:
        ledger: Where it is written down, in the audit too.
        project: The project.
        who: Whom the audit names.
        at: Event time; now, when left out.

    Returns:
        How many challengers in a row had been turned down.
    """
    with ledger.change() as connection:
        rows.hold(connection, project.name)
        turned_down = len(turned_down_in_a_row(rows.judged(connection, project.name)))
        reason = f"The breaker was closed by {who}; {turned_down} challengers in a row had been turned down."
        rows.add_decision(connection, project.name, "breaker-closed", reason, "{}", at or datetime.now(UTC))
        record(connection, who, "close breaker", project.name, turned_down, 0)
    return turned_down
