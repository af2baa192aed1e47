"""The ledger as its users see it: every method is one transaction. Knows nothing of pandas, Prefect or MLflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from treadle.errors import Conflict, Unavailable
from treadle.ledger import alert_rows, intake
from treadle.ledger import champions as champion_rows
from treadle.ledger.audit import Outcome, keep_anchor, record
from treadle.ledger.database import LaterEngine, open_engine
from treadle.ledger.journal import Entry, Values
from treadle.ledger.labels import add_labels, settle_early
from treadle.ledger.records import (
    Champion,
    Counts,
    DecisionRow,
    Feedback,
    Lease,
    Prediction,
    Promotion,
    Row,
    VerdictRow,
    Version,
    from_us,
    to_us,
)
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
from treadle.settings import Settings

log = logging.getLogger("treadle.ledger")


class Ledger:
    """One open ledger; safe to share between threads."""

    def __init__(self, engine: Engine | LaterEngine, anchor: Path | None = None) -> None:
        self._engine = engine
        self.anchor = anchor

    @property
    def engine(self) -> Engine:
        """The database.

        Raises:
            Unavailable: It was to be opened later, and cannot be yet.
        """
        return self._engine.get() if isinstance(self._engine, LaterEngine) else self._engine

    @classmethod
    def open(cls, where: Settings | str) -> Ledger:
        """Open the ledger of an installation, or at a SQLAlchemy URL; its schema is brought up to date.

        Raises:
            Unavailable: It cannot be reached.
        """
        if isinstance(where, str):
            return cls(open_engine(where))
        return cls(open_engine(where.ledger, where.ledger_durability), where.state_dir / "audit.head")

    @classmethod
    def later(cls, settings: Settings) -> Ledger:
        """The ledger of an installation, opened at its first use; while it cannot be, every method says `Unavailable`."""
        return cls(LaterEngine(settings.ledger, settings.ledger_durability), settings.state_dir / "audit.head")

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """One transaction of changes that are recorded in the audit, see `treadle.ledger.audit.record`."""
        with self.engine.begin() as connection:
            yield connection
        self.keep_anchor()

    def keep_anchor(self) -> None:
        """Write down beside the ledger how far the audit has come; the change before has been committed, come what may."""
        if self.anchor is None:
            return
        try:
            if not keep_anchor(self.engine, self.anchor):
                log.error("the audit is not what it was when %s was written; see `treadle audit verify`", self.anchor)
        except (OSError, SQLAlchemyError, Unavailable) as error:
            log.warning("%s was not written: %s", self.anchor, type(error).__name__)

    def is_blank(self) -> bool:
        """Whether nothing ever happened here, not even a reset: a database that was lost, or is another one."""
        with self.engine.connect() as connection:
            rows = [connection.execute(select(table).limit(1)).first() for table in (versions, audit)]
        return rows == [None, None]

    # Predictions and labels

    def add_predictions(self, rows: Sequence[Prediction]) -> None:
        """Commit answered rows, all or none.

        Raises:
            Conflict: An id is there already.
            Unavailable: The database is locked or full.
        """
        now = to_us(datetime.now(UTC))
        self.add_entries([Entry(r.id, r.model, r.version, to_us(r.at), now, r.features, r.answer) for r in rows])

    def add_entries(self, rows: Sequence[Values]) -> None:
        """Commit rows as the table has them, all or none.

        Raises:
            Conflict: An id is there already.
            Unavailable: The database is locked or full.
        """
        try:
            with self.engine.begin() as connection:
                intake.add(connection, rows)
        except IntegrityError as error:
            raise Conflict(
                "A prediction with one of these ids was answered before; leave `ids` out or use new ones."
            ) from error

    def absorb(self, rows: Sequence[Values]) -> None:
        """Commit rows of the journal; those whose ids are there already change nothing.

        Raises:
            Unavailable: The database is locked, away or full.
        """
        with self.engine.begin() as connection:
            intake.absorb(connection, rows)

    def add_feedback(
        self, model: str, labels: Sequence[Feedback], early: Container[str] = (), key_id: str | None = None
    ) -> Counts:
        """Commit labels, all or none; the same label again changes nothing; see `treadle.ledger.labels.add_labels`.

        Raises:
            NotFound: An id was never answered by this model, and is not among those whose labels may come `early`.
            Conflict: A prediction has another label already.
        """
        return add_labels(self.engine, model, labels, early, key_id=key_id)

    def settle_early(self, model: str) -> tuple[int, int]:
        """Join labels that came before their predictions; how many wait still, and how many waited too long."""
        return settle_early(self.engine, model, datetime.now(UTC))

    def window(self, model: str, rows: int, until: datetime | None = None, version: int | None = None) -> list[Row]:
        """The newest predictions by event time, oldest first, with the labels known by `until`."""
        query = _rows(until, predictions.c.model == model, labelled=False)
        if until is not None:
            query = query.where(predictions.c.at_us <= to_us(until))
        if version is not None:
            query = query.where(predictions.c.version == version)
        newest = query.order_by(predictions.c.at_us.desc(), predictions.c.id.desc()).limit(rows)
        return self._read(newest)[::-1]

    def labelled(
        self, model: str, until: datetime | None = None, version: int | None = None, newest: int | None = None,
        or_after: datetime | None = None,
    ) -> list[Row]:  # fmt: skip
        """Predictions whose label was known by `until`, oldest first.

        Args:
            model: The project.
            until: Labels that became known later are not there yet.
            version: Only what this version answered.
            newest: Only so many, the newest.
            or_after: Besides, what any version answered to rows after this event time.
        """
        p = predictions.c
        query = _rows(until, p.model == model, labelled=True)
        if version is not None:
            own = p.version == version
            query = query.where(own if or_after is None else or_(own, p.at_us > to_us(or_after)))
        return self._read(query.order_by(p.at_us.desc(), p.id.desc()).limit(newest))[::-1]

    def labelled_after(self, model: str, version: int, since: datetime, until: datetime, oldest: int) -> list[Row]:
        """The `oldest` predictions of a version after `since` whose label was known by `until`, oldest first."""
        p = predictions.c
        query = _rows(until, p.model == model, p.version == version, labelled=True)
        query = query.where(p.at_us > to_us(since), p.at_us <= to_us(until))
        return self._read(query.order_by(p.at_us, p.id).limit(oldest))

    def givers(self, model: str) -> dict[str, str]:
        """Which key gave the label of each prediction; not of labels that came without a key, or that a person vouched for."""
        f = feedback.c
        query = select(f.id, f.key_id).where(f.model == model, f.key_id.is_not(None), f.vouched.is_(False))
        with self.engine.connect() as connection:
            return {row.id: row.key_id for row in connection.execute(query)}

    def _read(self, query: Any) -> list[Row]:
        with self.engine.connect() as connection:
            return [
                Row(r.id, r.version, from_us(r.at_us), json.loads(r.features), json.loads(r.answer), _load(r.label))
                for r in connection.execute(query)
            ]

    def count_labelled_since(self, model: str, since: datetime | None, until: datetime | None = None) -> int:
        """How many labelled rows are newer than `since`, of the labels known by `until`."""
        query = select(func.count()).select_from(predictions.join(feedback, feedback.c.id == predictions.c.id))
        query = query.where(predictions.c.model == model)
        if since is not None:
            query = query.where(predictions.c.at_us > to_us(since))
        if until is not None:
            query = query.where(feedback.c.at_us <= to_us(until))
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def count_labels_since(self, model: str, since: datetime, until: datetime | None = None) -> int:
        """How many labels became known after `since` and by `until`."""
        query = select(func.count()).select_from(feedback)
        query = query.where(feedback.c.model == model, feedback.c.at_us > to_us(since))
        if until is not None:
            query = query.where(feedback.c.at_us <= to_us(until))
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    # Versions, champions, leases

    def add_version(self, version: Version) -> None:
        """Record a registered version.

        Raises:
            Conflict: It is there already.
        """
        values = {
            "model": version.model, "version": version.version, "run_id": version.run_id, "bundle": version.bundle,
            "digest": version.digest, "family": version.family, "params": json.dumps(version.params),
            "metrics": json.dumps(version.metrics), "created_us": to_us(version.created),
            "data_until_us": to_us(version.data_until) if version.data_until else None,
        }  # fmt: skip
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(versions).values(**values))
        except IntegrityError as error:
            raise Conflict(f"Version {version.version} of '{version.model}' is registered already.") from error

    def remove_version(self, model: str, version: int, who: str = "flow") -> None:
        """Delete a version's record; see `treadle.ledger.champions.remove_version`."""
        champion_rows.remove_version(self.engine, model, version, who)
        self.keep_anchor()

    def version(self, model: str, version: int) -> Version | None:
        """One version's record."""
        found = self._versions(versions.c.model == model, versions.c.version == version)
        return found[0] if found else None

    def versions(self, model: str | None = None) -> list[Version]:
        """All versions of a model, or of all models, newest first."""
        return self._versions(*([versions.c.model == model] if model is not None else []))

    def _versions(self, *conditions: Any) -> list[Version]:
        query = select(versions).where(*conditions).order_by(versions.c.model, versions.c.version.desc())
        with self.engine.connect() as connection:
            return [
                Version(
                    r.model, r.version, r.run_id, r.bundle, r.digest, r.family, json.loads(r.params),
                    json.loads(r.metrics), from_us(r.data_until_us) if r.data_until_us is not None else None,
                    from_us(r.created_us),
                )
                for r in connection.execute(query)
            ]  # fmt: skip

    def champion(self, model: str) -> Champion | None:
        """The champion, `None` before the first promotion."""
        return champion_rows.read_champion(self.engine, model)

    def last_promotion(self, model: str) -> Promotion | None:
        """How the champion became it, `None` before the first."""
        return champion_rows.read_promotion(self.engine, model)

    def champions(self) -> dict[str, Champion]:
        """Every model's champion."""
        row = champion_rows.champions.c
        with self.engine.connect() as connection:
            found = connection.execute(select(row.model, row.version, row.previous, row.fence))
            return {model: Champion(*rest) for model, *rest in found}

    def promote(
        self,
        model: str,
        version: int,
        expected: int | None,
        *,
        verdict: str = "promoted",
        reason: str,
        figures: dict[str, Any] | None = None,
        at: datetime | None = None,
        lease_fence: int | None = None,
        who: str = "flow",
    ) -> Champion:
        """Compare-and-swap the champion; see `treadle.ledger.champions.swap_champion`."""
        champion = champion_rows.swap_champion(
            self.engine, model, version, expected, verdict=verdict, reason=reason, figures=figures or {},
            at=at or datetime.now(UTC), lease_fence=lease_fence, who=who,
        )  # fmt: skip
        self.keep_anchor()
        return champion

    def rollback(self, model: str, reason: str = "by hand", at: datetime | None = None, who: str = "flow") -> Champion:
        """Restore the champion before this one."""
        champion = champion_rows.swap_back(self.engine, model, reason, at or datetime.now(UTC), who)
        self.keep_anchor()
        return champion

    def acquire(self, model: str, holder: str, at: datetime, lease_s: float) -> Lease | None:
        """Take the model's train lease; `None` while another holds it."""
        return champion_rows.acquire(self.engine, model, holder, at, lease_s)

    def beat(self, lease: Lease) -> bool:
        """Prolong a lease; False if it was taken over."""
        return champion_rows.beat(self.engine, lease)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        champion_rows.release(self.engine, lease)

    def in_flight(self, model: str) -> bool:
        """Whether a train run of the model holds its lease."""
        return champion_rows.in_flight(self.engine, model)

    # Verdicts, decisions, costs

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


def _rows(until: datetime | None, *conditions: Any, labelled: bool) -> Any:
    """Predictions joined with their labels; a label that became known after `until` is not there yet."""
    match = feedback.c.id == predictions.c.id
    if until is not None:
        match = and_(match, feedback.c.at_us <= to_us(until))
    p = predictions.c
    joined = predictions.join(feedback, match, isouter=not labelled)
    return (
        select(p.id, p.version, p.at_us, p.features, p.answer, feedback.c.label).select_from(joined).where(*conditions)
    )


def _load(label: str | None) -> Any:
    return None if label is None else json.loads(label)
