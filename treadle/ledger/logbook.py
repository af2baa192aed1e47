"""What was seen, decided, spent and done, as it is written down: verdicts, decisions, costs, and what people did."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from treadle.ledger import alert_rows
from treadle.ledger.audit import Outcome, record
from treadle.ledger.records import DecisionRow, VerdictRow, from_us, to_us
from treadle.ledger.store import Store
from treadle.ledger.tables import costs, decisions, verdicts


class Logbook(Store):
    """Verdicts, decisions, costs, and what of the audit is no change of the ledger's own."""

    def record_verdict(self, model: str, row: VerdictRow) -> None:
        """Write down what a look at a window said."""
        self._insert(
            verdicts, model=model, version=row.version, verdict=row.verdict, reason=row.reason, rows=row.rows,
            labelled=row.labelled, figures=json.dumps(row.figures, default=str), report=row.report, at_us=to_us(row.at),
        )  # fmt: skip

    def last_verdicts(self, model: str, n: int = 10) -> list[VerdictRow]:
        """The newest verdicts, newest first."""
        query = select(verdicts).where(verdicts.c.model == model).order_by(verdicts.c.seq.desc()).limit(n)
        with self.engine.connect() as connection:
            return [
                VerdictRow(
                    r.version,
                    r.verdict,
                    r.reason,
                    r.rows,
                    r.labelled,
                    json.loads(r.figures),
                    r.report,
                    from_us(r.at_us),
                )
                for r in connection.execute(query)
            ]

    def record_decision(self, model: str, kind: str, reason: str, figures: dict[str, Any], at: datetime) -> None:
        """Write down a decision and why, and what it means for the alerts."""
        with self.engine.begin() as connection:
            connection.execute(
                insert(decisions).values(
                    model=model, kind=kind, reason=reason, figures=json.dumps(figures, default=str),
                    at_us=to_us(at), arrived_us=to_us(datetime.now(UTC)),
                )
            )  # fmt: skip
            alert_rows.follow_decision(connection, model, kind, reason, figures, at)

    def last_decisions(self, model: str, n: int = 10, kind: str | None = None) -> list[DecisionRow]:
        """The newest decisions, newest first."""
        query = select(decisions).where(decisions.c.model == model).order_by(decisions.c.seq.desc()).limit(n)
        if kind is not None:
            query = query.where(decisions.c.kind == kind)
        with self.engine.connect() as connection:
            return [
                DecisionRow(r.kind, r.reason, json.loads(r.figures), from_us(r.at_us))
                for r in connection.execute(query)
            ]

    def record_cost(
        self, model: str, flow: str, run_id: str, cpu_seconds: float, seconds: float, at: datetime | None = None
    ) -> None:
        """Write down what a flow run cost; `at` is its event time."""
        moment = to_us(at or datetime.now(UTC))
        self._insert(
            costs, model=model, flow=flow, run_id=run_id, cpu_seconds=cpu_seconds, seconds=seconds, at_us=moment
        )

    def spent(
        self, model: str, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, dict[str, float]]:
        """CPU seconds, wall seconds and runs by flow, within event times."""
        query = select(costs.c.flow, func.sum(costs.c.cpu_seconds), func.sum(costs.c.seconds), func.count()).where(
            costs.c.model == model
        )
        if since is not None:
            query = query.where(costs.c.at_us > to_us(since))
        if until is not None:
            query = query.where(costs.c.at_us <= to_us(until))
        with self.engine.connect() as connection:
            rows = connection.execute(query.group_by(costs.c.flow))
            return {flow: {"cpu_seconds": cpu, "seconds": wall, "runs": runs} for flow, cpu, wall, runs in rows}

    def record_audit(
        self,
        who: str,
        what: str,
        subject: str,
        before: object = None,
        after: object = None,
        outcome: Outcome = "allowed",
    ) -> None:
        """Write down what is no change of the ledger's own; see `treadle.ledger.audit.record` for what is."""
        with self.change() as connection:
            alert_rows.follow_bundle(connection, what, subject, after, datetime.now(UTC))
            record(connection, who, what, subject, before, after, outcome)

    def _insert(self, table: Any, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(table).values(**values))
