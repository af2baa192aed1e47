"""Quality in the ledger: counts and rows by prediction time, the windows made of them, and what each look said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, func, insert, select

from treadle.ledger.ledger import Ledger
from treadle.ledger.records import QualityWindow, Row, from_us, to_us
from treadle.ledger.tables import feedback, predictions, quality_looks, quality_windows


class QualityRows:
    """The quality of one ledger's models; every method is one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def counts(
        self, model: str, origin: datetime, span: timedelta, numbers: range, known_by: datetime
    ) -> dict[int, tuple[int, int]]:
        """Answered and labelled rows of consecutive spans that have any, by the span's number.

        Args:
            model: The model.
            origin: Where span 0 begins.
            span: The length of one.
            numbers: Which spans.
            known_by: Later predictions and labels are not known.
        """
        begin, length = to_us(origin), span // timedelta(microseconds=1)
        p = predictions.c
        number = (p.at_us - begin) // length
        joined = predictions.outerjoin(feedback, and_(feedback.c.id == p.id, feedback.c.at_us <= to_us(known_by)))
        query = (
            select(number.label("number"), func.count(), func.count(feedback.c.id))
            .select_from(joined)
            .where(p.model == model, p.at_us <= to_us(known_by))
            .where(p.at_us >= begin + numbers.start * length, p.at_us < begin + numbers.stop * length)
            .group_by("number")
        )
        with self._ledger.engine.connect() as connection:
            return {int(n): (int(answered), int(labelled)) for n, answered, labelled in connection.execute(query)}

    def rows(
        self, model: str, begin: datetime, end: datetime, known_by: datetime, *, labelled: bool, most: int
    ) -> list[Row]:
        """The newest rows of a span, oldest first; only labelled ones, whose features are left out then."""
        p, f = predictions.c, feedback.c
        match = and_(f.id == p.id, f.at_us <= to_us(known_by))
        joined = predictions.join(feedback, match, isouter=not labelled)
        query = (
            select(p.id, p.version, p.at_us, p.answer, f.label, *([] if labelled else [p.features]))
            .select_from(joined)
            .where(p.model == model, p.at_us >= to_us(begin), p.at_us < to_us(end), p.at_us <= to_us(known_by))
            .order_by(p.at_us.desc(), p.id.desc())
            .limit(most)
        )
        with self._ledger.engine.connect() as connection:
            found = [
                Row(
                    r.id, r.version, from_us(r.at_us), {} if labelled else json.loads(r.features),
                    json.loads(r.answer), None if r.label is None else json.loads(r.label),
                )
                for r in connection.execute(query)
            ]  # fmt: skip
        return found[::-1]

    def keep(self, model: str, windows: Sequence[QualityWindow]) -> None:
        """Write windows down, over what was there of them."""
        q = quality_windows.c
        with self._ledger.engine.begin() as connection:
            for window in windows:
                key = {"metric": window.metric, "from_us": to_us(window.begin), "to_us": to_us(window.end)}
                same = [q.model == model, *(q[name] == value for name, value in key.items())]
                connection.execute(delete(quality_windows).where(*same))
                estimate = None if window.estimate is None else json.dumps(window.estimate)
                values = {"answered": window.answered, "labelled": window.labelled, "value": window.value}
                connection.execute(insert(quality_windows).values(model=model, **key, **values, estimate=estimate))

    def windows(self, model: str, metric: str, until: datetime, newest: int) -> list[QualityWindow]:
        """The newest windows that ended by a moment, oldest first."""
        q = quality_windows.c
        query = select(quality_windows).where(q.model == model, q.metric == metric, q.to_us <= to_us(until))
        with self._ledger.engine.connect() as connection:
            found = [
                QualityWindow(
                    from_us(r.from_us), from_us(r.to_us), r.metric, r.answered, r.labelled, r.value,
                    None if r.estimate is None else json.loads(r.estimate),
                )
                for r in connection.execute(query.order_by(q.to_us.desc(), q.from_us.desc()).limit(newest))
            ]  # fmt: skip
        return found[::-1]

    def record_look(self, model: str, version: int, figures: dict[str, Any], at: datetime) -> None:
        """Write down what a look said of quality."""
        values = {"model": model, "version": version, "figures": json.dumps(figures), "at_us": to_us(at)}
        with self._ledger.engine.begin() as connection:
            connection.execute(insert(quality_looks).values(**values))

    def last_look(self, model: str) -> dict[str, Any] | None:
        """What the newest look said; `None` before the first."""
        query = select(quality_looks.c.figures).where(quality_looks.c.model == model)
        with self._ledger.engine.connect() as connection:
            found = connection.execute(query.order_by(quality_looks.c.seq.desc()).limit(1)).scalar()
        return None if found is None else json.loads(found)
