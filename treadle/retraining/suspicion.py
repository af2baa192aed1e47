"""Suspicious labels: one key's contradict the model far more often than those that the other keys give.

When the world moves, the labels of all keys contradict the model more than before; when one key lies, or is broken, its
own do. So keys are compared with each other, never with the past alone. With one key there is nobody to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from treadle.errors import BadProject, NotFound
from treadle.ledger import Ledger
from treadle.ledger import set_aside as rows
from treadle.ledger.set_aside import Given
from treadle.ledger.triggers import hold
from treadle.project import Project, Retrain, load_project
from treadle.settings import Settings

LEAST_OWN = 20
"""Labels of a key from which it is judged."""
LEAST_OTHERS = 50
"""Labels of the other keys that it is judged by."""
USUAL = 0.9
"""Of the other keys' labels, this share is near enough to the model's number not to contradict it."""
PAST_WINDOWS = 8
"""Windows before the newest from which a key's own habits are known."""
FUTURE = "They say that they became known more than a day after they came."
Key = str | None


@dataclass(frozen=True)
class Bar:
    """How much more often than others a key's labels must contradict the model.

    Attributes:
        z: Standard errors between the two shares, below which the difference may be luck.
        part: Of what `retrain.suspect_excess` allows.
    """

    z: float
    part: float = 1.0


SUSPICION = Bar(z=5.0)
"""Labels are set aside: by luck one in three million, if labels were independent."""
DOUBT = Bar(z=3.0, part=1 / 3)
"""Steps leave the labels out, since nobody compares a step: by luck one in seven hundred."""


@dataclass(frozen=True)
class Losses:
    """How far a key's labels are from the model's answers.

    Attributes:
        recent: Those of the window, (n,): 0 or 1 for classes, the distance for numbers.
        past: Those from before, (m,).
    """

    recent: np.ndarray
    past: np.ndarray


@dataclass(frozen=True)
class Suspect:
    """A key whose labels should not be learned from.

    Attributes:
        labels: How many it gave in the window.
        contradict: Share of them that contradict the model.
        others: That of the labels it is compared with.
        share: Its share of the window's labels.
    """

    key: Key
    labels: int
    contradict: float
    others: float
    share: float

    @property
    def reason(self) -> str:
        """Why, in plain words."""
        return (
            f"Key {self.key or 'none'} gave {self.labels} labels ({self.share:.0%} of the window's); {self.contradict:.0%} of "
            f"them contradict the model, against {self.others:.0%} of what it is compared with."
        )


@dataclass(frozen=True)
class Examined:
    """What a look at the newest labels set aside: how many labels, and why."""

    labels: int
    reasons: tuple[str, ...]


def examine(ledger: Ledger, project: Project, at: datetime) -> Examined:
    """Set the suspicious labels aside that were known by a moment.

    Every label is looked at at least once, also when the last look was longer ago than the window reaches.
    """
    begin, found = _look(ledger, project, at)
    with ledger.change() as connection:
        hold(connection, project.name)
        count = rows.put_future_aside(connection, project.name, FUTURE)
        reasons = [FUTURE] if count else []
        for suspect in found:
            moved = rows.put_aside(connection, project.name, suspect.key, begin, at, suspect.reason)
            count += moved
            reasons += [suspect.reason] if moved else []
        rows.note_examined(connection, project.name, at)
    return Examined(count, tuple(reasons))


def examine_served(settings: Settings, ledger: Ledger, name: str) -> None:
    """Examine the labels of a model known by now; not on a machine that serves it and has no file of its project."""
    with suppress(BadProject, NotFound):
        examine(ledger, load_project(name, settings), datetime.now(UTC))


def _look(ledger: Ledger, project: Project, at: datetime) -> tuple[datetime, list[Suspect]]:
    """When the window begins, and the keys that are suspicious in it; nobody waits meanwhile."""
    name, window = project.name, project.retrain.suspect_window
    with ledger.engine.connect() as connection:
        before = rows.examined_until(connection, name)
        begin = at - window if before is None or before > at else min(at - window, before)
        since = begin - PAST_WINDOWS * window
        if len(rows.givers(connection, name, since, at)) < 2:
            return begin, []
        known = rows.given(connection, name, since, begin, at)
    return begin, suspects(losses_by_key(known), project.retrain)


def losses_by_key(known: Sequence[Given]) -> dict[Key, Losses]:
    """How far each key's labels are from the answers; what a person vouched for counts as the key's past."""
    recent: dict[Key, list[float]] = {}
    past: dict[Key, list[float]] = {}
    for one in known:
        side = recent if one.recent and not one.vouched else past
        side.setdefault(one.key_id, []).append(_loss(one.label, one.answer.get("prediction")))
    return {
        key: Losses(np.array(recent.get(key, ()), dtype=float), np.array(past.get(key, ()), dtype=float))
        for key in {*recent, *past}
    }


def _loss(label: Any, answer: Any) -> float:
    if isinstance(label, int | float) and isinstance(answer, int | float):
        return abs(float(label) - float(answer))
    return float(str(label) != str(answer))


def suspects(known: Mapping[Key, Losses], rules: Retrain, bar: Bar = SUSPICION) -> list[Suspect]:
    """The keys whose labels contradict the model far more than the others' do, the worst first.

    One that is found is left out of what the next is compared with, so that two do not hide behind each other.

    Args:
        known: Each key's losses.
        rules: How much more is too much.
        bar: How sure that must be.
    """
    found: list[Suspect] = []
    left = dict(known)
    while len(left) > 1:
        judged = [suspect for key in left if (suspect := _judge(key, left, rules, known, bar)) is not None]
        if not judged:
            break
        worst = max(judged, key=lambda suspect: suspect.contradict - suspect.others)
        found.append(worst)
        del left[worst.key]
    return found


def _judge(
    key: Key, left: Mapping[Key, Losses], rules: Retrain, known: Mapping[Key, Losses], bar: Bar
) -> Suspect | None:  # fmt: skip
    own = left[key].recent
    others = _of_others(key, left)
    if len(own) < LEAST_OWN or len(others) < LEAST_OTHERS:
        return None
    limit = 0.5 if _are_classes(known) else float(np.quantile(others, USUAL))
    contradict, expected, n = float(np.mean(own > limit)), float(np.mean(others > limit)), len(others)
    past = left[key].past
    if len(past) >= LEAST_OTHERS and np.mean(past > limit) > expected:  # it always was like that
        expected, n = float(np.mean(past > limit)), len(past)
    share = len(own) / sum(len(losses.recent) for losses in known.values())
    allowed = bar.part * rules.suspect_excess / (2 if _came_suddenly(key, share, known, rules) else 1)
    if contradict - expected < allowed or _z(contradict, len(own), expected, n) < bar.z:
        return None
    return Suspect(key, len(own), contradict, expected, share)


def _of_others(key: Key, left: Mapping[Key, Losses]) -> np.ndarray:
    """What the other keys gave in the window; with too little of it, what they gave before as well."""
    others = [losses for name, losses in left.items() if name != key]
    recent = np.concatenate([losses.recent for losses in others])
    if len(recent) >= LEAST_OTHERS:
        return recent
    return np.concatenate([recent, *(losses.past for losses in others)])


def _are_classes(known: Mapping[Key, Losses]) -> bool:
    """Whether losses are 0 or 1."""
    return all(np.isin(part, (0.0, 1.0)).all() for losses in known.values() for part in (losses.recent, losses.past))


def _came_suddenly(key: Key, share: float, known: Mapping[Key, Losses], rules: Retrain) -> bool:
    """Whether a key gives a larger share of the labels than one may, and did not before."""
    past = sum(len(losses.past) for losses in known.values())
    used_to = len(known[key].past) / past if past >= LEAST_OTHERS else 1.0
    return share > rules.max_key_share >= used_to


def _z(own: float, n: int, others: float, m: int) -> float:
    """Standard errors between two shares, by their pooled variance (the test of two proportions)."""
    pooled = (own * n + others * m) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (own - others) / spread if spread else 0.0
