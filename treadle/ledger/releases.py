"""Releases in the ledger: at most one runs for a model, and whoever ends it does so by compare-and-swap.

Every worker writes what it saw; the decision is one's at a time, whoever holds the row's `judge` for the next seconds.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict, NotFound
from treadle.ledger.audit import record
from treadle.ledger.champions import check_lease, swap_within
from treadle.ledger.ledger import Ledger
from treadle.ledger.records import Champion, Release, from_us, to_us
from treadle.ledger.tables import (
    champions,
    feedback,
    predictions,
    release_evidence,
    releases,
    shadow_answers,
    versions,
)
from treadle.promotion.release import COUNTS, MOST_LABELLED, Evidence, Judgement, Latencies, Losses, Mode, Rules, State

if TYPE_CHECKING:
    import numpy as np

_DAY_US = 86_400_000_000
_read_rules = msgspec.json.Decoder(Rules).decode


class ShadowAnswer(NamedTuple):
    """What a shadow would have answered to a row, JSON as in the predictions."""

    id: str
    answer: str


class Releases:
    """The releases of one ledger; every method is one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(
        self,
        model: str,
        version: int,
        mode: Mode,
        rules: Rules,
        *,
        share: float = 1.0,
        who: str = "flow",
        lease_fence: int | None = None,
    ) -> Release:
        """Begin a release; one that runs is stopped, and its row says for whom.

        Args:
            model: The model.
            version: The candidate.
            mode: Whether anybody gets its answers.
            rules: When it ends, and how.
            share: Share of callers, of a canary.
            who: The person, key or flow that asked for it.
            lease_fence: The train lease under which the caller works; a newer lease makes it void.

        Raises:
            NotFound: The model has no champion, or no such version.
            Conflict: It is champion already, or another release or lease came first.
        """
        try:
            with self._ledger.change() as connection:
                champion = _champion_for(connection, model, version)
                if lease_fence is not None:
                    check_lease(connection, model, lease_fence)
                self._stop_running(connection, model, f"Version {version} takes its place.")
                values = {
                    "model": model, "version": version, "champion": champion, "mode": mode, "share": share,
                    "salt": secrets.token_hex(8), "rules": msgspec.json.encode(rules).decode(), "state": "running",
                    "started_us": _now(), "reason": "It runs.", "figures": "{}", "who": who, "judge_until_us": 0,
                }  # fmt: skip
                made = connection.execute(insert(releases).values(**values)).inserted_primary_key
                record(connection, who, f"release {mode}", model, champion, version)
        except IntegrityError as error:
            raise Conflict(
                f"Another release of '{model}' was started at the same moment; see `treadle release status {model}`."
            ) from error
        return self.get(int(made[0]) if made else 0)

    def get(self, seq: int) -> Release:
        """One release.

        Raises:
            NotFound: There is none of that number.
        """
        for found in self._read(releases.c.seq == seq):
            return found
        raise NotFound(f"There is no release {seq}.")

    def running(self) -> dict[str, Release]:
        """The releases that run, by model."""
        return {found.model: found for found in self._read(releases.c.state == "running")}

    def last(self, model: str | None = None, n: int = 10) -> list[Release]:
        """The newest releases of a model, or of all, newest first."""
        return self._read(*([releases.c.model == model] if model is not None else []), n=n)

    def _read(self, *conditions: Any, n: int | None = None) -> list[Release]:
        query = select(releases).where(*conditions).order_by(releases.c.seq.desc()).limit(n)
        with self._ledger.engine.connect() as connection:
            return [_release(row) for row in connection.execute(query)]

    # How it ends

    def finish(self, release: Release, state: State, reason: str, figures: Mapping[str, Any], who: str) -> None:
        """End a release without a promotion.

        Raises:
            Conflict: It has ended already.
        """
        with self._ledger.change() as connection:
            _end(connection, release, state, reason, figures)
            record(connection, who, f"release {state}", release.model, release.version, reason)

    def advance(self, release: Release, reason: str, figures: Mapping[str, Any], who: str) -> Champion:
        """Make the candidate champion and end its release, in one transaction.

        Raises:
            Conflict: It has ended already, or the champion is not the one that it was compared with any more.
        """
        with self._ledger.change() as connection:
            _end(connection, release, "advanced", reason, figures)
            return swap_within(
                connection, release.model, release.version, release.champion, verdict="advanced", reason=reason,
                figures=dict(figures), at=datetime.now(UTC), who=who,
            )  # fmt: skip

    def revert(self, model: str, bad: int, to: int, reason: str, figures: Mapping[str, Any], who: str) -> Champion:
        """Put `to` online again if `bad` still is champion.

        Raises:
            Conflict: It is not.
            NotFound: `to` is not registered any more.
        """
        with self._ledger.change() as connection:
            return swap_within(
                connection, model, to, bad, verdict="rollback", reason=reason, figures=dict(figures),
                at=datetime.now(UTC), who=who,
            )  # fmt: skip

    def _stop_running(self, connection: Connection, model: str, reason: str) -> None:
        mine = update(releases).where(releases.c.model == model, releases.c.state == "running")
        connection.execute(mine.values(state="stopped", ended_us=_now(), reason=reason))

    # Who judges, and what was seen

    def hold(self, release: Release, judge: str, hold_s: float) -> bool:
        """Be the one who judges a release for the next seconds; False while another is, or when it has ended."""
        now = _now()
        free = or_(releases.c.judge == judge, releases.c.judge_until_us < now)
        mine = update(releases).where(and_(releases.c.seq == release.seq, releases.c.state == "running", free))
        with self._ledger.engine.begin() as connection:
            values = {"judge": judge, "judge_until_us": now + int(hold_s * 1e6)}
            return connection.execute(mine.values(**values)).rowcount == 1

    def note(self, release: Release, judgement: Judgement) -> None:
        """Write down how a release that goes on was judged last."""
        mine = update(releases).where(releases.c.seq == release.seq, releases.c.state == "running")
        with self._ledger.engine.begin() as connection:
            connection.execute(mine.values(reason=judgement.reason, figures=_json(judgement.figures)))

    def put_evidence(self, seq: int, worker: str, minutes: Mapping[int, Evidence]) -> None:
        """Write what one worker saw, minute by minute; a minute that is there already is written anew."""
        rows = [
            {"release": seq, "minute": minute, "worker": worker, **_plain(seen)} for minute, seen in minutes.items()
        ]
        mine = and_(
            release_evidence.c.release == seq,
            release_evidence.c.worker == worker,
            release_evidence.c.minute.in_(list(minutes)),
        )
        with self._ledger.engine.begin() as connection:
            connection.execute(delete(release_evidence).where(mine))
            if rows:
                connection.execute(insert(release_evidence), rows)

    def evidence(self, seq: int) -> dict[int, Evidence]:
        """What all workers saw, by minute."""
        found: dict[int, Evidence] = {}
        with self._ledger.engine.connect() as connection:
            for row in connection.execute(select(release_evidence).where(release_evidence.c.release == seq)):
                found.setdefault(row.minute, Evidence()).take(_evidence(row))
        return found

    def add_shadow_answers(self, release: Release, answers: Sequence[ShadowAnswer]) -> None:
        """Commit what a shadow answered; an id that is there already changes nothing."""
        now = _now()
        rows = [
            {"release": release.seq, "id": a.id, "model": release.model, "version": release.version, "answer": a.answer,
             "arrived_us": now}
            for a in answers
        ]  # fmt: skip
        with self._ledger.engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                from sqlalchemy.dialects.sqlite import insert as upsert
            else:
                from sqlalchemy.dialects.postgresql import insert as upsert
            connection.execute(upsert(shadow_answers).on_conflict_do_nothing(), rows)

    # Labels

    def count_labels(self, release: Release) -> int:
        """How many labels of the model came since the release began: cheap, to see whether to look closer."""
        came = and_(feedback.c.model == release.model, feedback.c.arrived_us >= to_us(release.started))
        with self._ledger.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(feedback).where(came)).scalar_one())

    def losses(self, release: Release) -> Losses:
        """The losses of labelled rows, in the order in which the labels came.

        Of a shadow, of the rows that both answered; of a canary, of what each answered to its own callers.
        """
        import numpy as np

        if release.mode == "shadow":
            rows = self._shadow_rows(release)
            days = np.array([row.at_us // _DAY_US for row in rows])
            return Losses(
                _losses(release, rows, "answer"), _losses(release, rows, "shadow"), paired=True,
                champion_blocks=days, candidate_blocks=days,
            )  # fmt: skip
        old, new = (self._own_rows(release, version) for version in (release.champion, release.version))
        days_of = [np.array([row.at_us // _DAY_US for row in rows]) for rows in (old, new)]
        return Losses(_losses(release, old, "answer"), _losses(release, new, "answer"), False, *days_of)

    def _shadow_rows(self, release: Release) -> Sequence[Any]:
        s, p, f = shadow_answers.c, predictions.c, feedback.c
        joined = shadow_answers.join(feedback, f.id == s.id).join(predictions, p.id == s.id)
        query = (
            select(f.label, p.answer, s.answer.label("shadow"), p.at_us)
            .select_from(joined)
            .where(s.release == release.seq, p.model == release.model, p.version == release.champion)
        )
        return self._in_order(query)

    def _own_rows(self, release: Release, version: int) -> Sequence[Any]:
        p, f = predictions.c, feedback.c
        query = (
            select(f.label, p.answer, p.at_us)
            .select_from(predictions.join(feedback, f.id == p.id))
            .where(p.model == release.model, p.version == version, p.arrived_us >= to_us(release.started))
        )
        return self._in_order(query)

    def _in_order(self, query: Any) -> Sequence[Any]:
        ordered = query.order_by(feedback.c.arrived_us, feedback.c.id).limit(MOST_LABELLED)
        with self._ledger.engine.connect() as connection:
            return connection.execute(ordered).fetchall()


def _champion_for(connection: Connection, model: str, version: int) -> int:
    """The champion that a candidate is compared with; the row stays as it is until the release has begun."""
    found = connection.execute(select(champions.c.version).where(champions.c.model == model).with_for_update()).scalar()
    if found is None:
        raise NotFound(f"'{model}' has no champion to compare with. `treadle promote {model} {version}` makes one.")
    if found == version:
        raise Conflict(f"Version {version} of '{model}' is champion already.")
    known = select(versions.c.version).where(versions.c.model == model, versions.c.version == version)
    if connection.execute(known).first() is None:
        raise NotFound(f"'{model}' has no version {version}. `treadle models {model}` lists its versions.")
    return int(found)


def _end(connection: Connection, release: Release, state: State, reason: str, figures: Mapping[str, Any]) -> None:
    mine = update(releases).where(releases.c.seq == release.seq, releases.c.state == "running")
    values = {"state": state, "ended_us": _now(), "reason": reason, "figures": _json(figures)}
    if connection.execute(mine.values(**values)).rowcount != 1:
        raise Conflict(f"The release of version {release.version} of '{release.model}' has ended already.")


def _release(row: Any) -> Release:
    return Release(
        row.seq, row.model, row.version, row.champion, row.mode, row.share, row.salt, _read_rules(row.rules), row.state,
        from_us(row.started_us), None if row.ended_us is None else from_us(row.ended_us), row.reason,
        json.loads(row.figures), row.who,
    )  # fmt: skip


def _plain(seen: Evidence) -> dict[str, Any]:
    counts = {name: getattr(seen, name) for name in COUNTS}
    return counts | {side: json.dumps(getattr(seen, side).counts) for side in ("candidate", "champion")}


def _evidence(row: Any) -> Evidence:
    sides = [
        Latencies({int(bucket): count for bucket, count in json.loads(text).items()})
        for text in (row.candidate, row.champion)
    ]
    return Evidence(**{name: getattr(row, name) for name in COUNTS}, candidate=sides[0], champion=sides[1])


def _losses(release: Release, rows: Iterable[Any], column: str) -> np.ndarray:
    from treadle.learning.losses import losses_of_answers

    known = list(rows)
    labels = [json.loads(row.label) for row in known]
    return losses_of_answers(release.rules.metric, labels, [json.loads(getattr(row, column)) for row in known])


def _json(figures: Mapping[str, Any]) -> str:
    return json.dumps(dict(figures), default=str)


def _now() -> int:
    return time.time_ns() // 1000
