"""The ledger as its users see it: every method is one transaction. Knows nothing of pandas, Prefect or MLflow."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select

from treadle.ledger import alert_rows
from treadle.ledger import champions as champion_rows
from treadle.ledger.answers import Answers
from treadle.ledger.audit import record
from treadle.ledger.logbook import Logbook
from treadle.ledger.records import to_us
from treadle.ledger.tables import (
    audit,
    costs,
    decisions,
    early_labels,
    feedback,
    governors,
    predictions,
    quality_looks,
    quality_windows,
    ready_calls,
    ready_looks,
    release_evidence,
    releases,
    set_aside,
    shadow_answers,
    slots,
    triggers,
    verdicts,
    versions,
)
from treadle.ledger.versions import Versions


class Ledger(Answers, Versions, Logbook):
    """One open ledger; safe to share between threads. Here is what concerns more than one of its parts."""

    def is_blank(self) -> bool:
        """Whether nothing ever happened here, not even a reset: a database that was lost, or is another one."""
        with self.engine.connect() as connection:
            rows = [connection.execute(select(table).limit(1)).first() for table in (versions, audit)]
        return rows == [None, None]

    def forget(self, model: str, who: str = "flow") -> None:
        """Remove everything about one model but the audit: the project starts anew."""
        with self.change() as connection:
            known = select(func.count()).select_from(versions).where(versions.c.model == model)
            before = connection.execute(known).scalar_one()
            own = select(releases.c.seq).where(releases.c.model == model)
            connection.execute(delete(release_evidence).where(release_evidence.c.release.in_(own)))
            own_rows = (
                feedback,
                set_aside,
                predictions,
                early_labels,
                verdicts,
                decisions,
                triggers,
                slots,
                governors,
                costs,
                versions,
                shadow_answers,
                releases,
            )
            for table in (*own_rows, quality_windows, quality_looks):
                connection.execute(delete(table).where(table.c.model == model))
            champion_rows.forget_champion(connection, model)
            alert_rows.forget_alerts(connection, model)
            record(connection, who, "reset", model, before, 0)

    def prune(self, before: datetime) -> int:
        """Remove predictions, and their labels, that arrived before a moment.

        Returns:
            Predictions removed.
        """
        with self.engine.begin() as connection:
            old = select(predictions.c.id).where(predictions.c.arrived_us < to_us(before))
            connection.execute(delete(feedback).where(feedback.c.id.in_(old)))
            for table in (shadow_answers, early_labels):
                connection.execute(delete(table).where(table.c.arrived_us < to_us(before)))
            for table in (ready_calls, ready_looks):
                connection.execute(delete(table).where(table.c.at_us < to_us(before)))
            return connection.execute(delete(predictions).where(predictions.c.arrived_us < to_us(before))).rowcount
