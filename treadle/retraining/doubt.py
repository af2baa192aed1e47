"""What a step of a followed stream may learn from: not from a key in doubt, since nobody compares the step with anything.

The bar is far below that of suspicion, and what is in doubt is only left out: other train runs learn from it, and their duel judges it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from treadle.ledger import Ledger
from treadle.ledger import set_aside as rows
from treadle.project import Project
from treadle.retraining.steps import Followed
from treadle.retraining.suspicion import DOUBT, FUTURE, PAST_WINDOWS, Key, losses_by_key, suspects


@dataclass(frozen=True)
class Fresh:
    """What the next step has to learn from.

    Attributes:
        labels: Labelled rows that are newer than all that the newest step knows, without those in doubt.
        doubts: The keys in doubt, and why, `{key: reason}`.
        left_out: Ids of the rows that they labelled since the duel with which the stream began to be followed.
    """

    labels: int
    doubts: Mapping[Key, str]
    left_out: frozenset[str]

    @property
    def said(self) -> str:
        """Who is left out, in plain words; nothing where nobody is."""
        return " ".join(f"Steps learn nothing from this key: {reason}" for reason in self.doubts.values())


NOTHING = Fresh(0, {}, frozenset())


def fresh_for_step(ledger: Ledger, project: Project, followed: Followed, at: datetime) -> Fresh:
    """What a step at a moment has to learn from.

    A key is in doubt while labels of it are set aside, or where those that no duel has judged contradict the model more often than
    the other keys' do, and more often than its own before.

    Args:
        ledger: The labels.
        project: The rules.
        followed: How far the stream has been followed.
        at: Labels that became known later are not there yet.
    """
    name, window = project.name, project.retrain.suspect_window
    won, newest = (ledger.version(name, number) for number in (followed.won, followed.version))
    since = won.data_until if won is not None and won.data_until is not None else at - window
    until = newest.data_until if newest is not None else None
    labels = ledger.count_labelled_since(name, until, until=at)
    suspected = [batch.key_id for batch in rows.batches(ledger, name) if batch.reason != FUTURE]
    doubts = {key: f"labels of {key or 'nobody in particular'} are set aside." for key in suspected}
    with ledger.engine.connect() as connection:
        if len(rows.givers(connection, name, since, at)) > 1:
            known = losses_by_key(rows.given(connection, name, since - PAST_WINDOWS * window, since, at))
            doubts |= {one.key: one.reason for one in suspects(known, project.retrain, DOUBT)}
        if not doubts:
            return Fresh(labels, {}, frozenset())
        left_out = rows.given_by(connection, name, doubts.keys(), since, at)
    new = labels - sum(until is None or asked > until for asked in left_out.values())
    return Fresh(new, doubts, frozenset(left_out))
