"""What was answered, and the labels that came of it: rows go in, windows of them are read."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict
from treadle.ledger import intake
from treadle.ledger.journal import Values
from treadle.ledger.labels import add_labels, settle_early
from treadle.ledger.records import Counts, Feedback, Row, from_us, to_us
from treadle.ledger.store import Store
from treadle.ledger.tables import feedback, predictions


class Answers(Store):
    """Predictions and their labels."""

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
