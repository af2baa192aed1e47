"""One release at work in one worker: its candidate, who is answered by it, and what is seen of it, minute by minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from serving.models.model import ServedModel
from serving.releasing.candidate import Candidate, Columns, Job, Outcome
from treadle.ledger import Release, ShadowAnswer
from treadle.ledger import Releases as Book
from treadle.promotion.release import TENTH, Evidence, Quality, place, total

MOST_UNWRITTEN = 50_000
"""Shadow answers that wait for the ledger; more are not kept."""
STREAK = 10
"""After so many failures in a row a worker asks the candidate no more, whatever the ledger says."""
Minute = tuple[int, int]
"""How often the clock was set back, and a minute since 1970: one that runs again is counted apart, and written beside the first."""
_encode = msgspec.json.Encoder().encode


class Live:
    """One release in this worker. Counts are taken by the loop and by the candidate's thread."""

    def __init__(self, release: Release, candidate: Candidate) -> None:
        self.release = release
        self.candidate = candidate
        self._lock = threading.Lock()
        self._minutes: dict[Minute, Evidence] = {}
        self._changed: set[Minute] = set()
        self._minute: Minute = (0, 0)
        self._answers: list[ShadowAnswer] = []
        self._streak = 0
        self.looked: tuple[int, Quality | None] = (0, None)  # labels at the last look, and what it found

    @property
    def answers_well(self) -> bool:
        """Whether the last failures were not one after the other."""
        return self._streak < STREAK

    def chosen(self, caller: bytes) -> bool:
        """Whether a caller gets the candidate's answer."""
        release = self.release
        return release.mode == "canary" and self.answers_well and place(release.salt, caller) < release.share

    def saw(self, outcome: Outcome, rows: int) -> None:
        """Count what became of a request."""
        with self._lock:
            seen = self._now()
            if outcome.end == "answer":
                seen.answers += 1
                seen.rows += rows
                seen.candidate.add(outcome.seconds)
                self._streak = 0
            elif outcome.end == "dropped":
                seen.dropped += 1
            else:
                name = {"error": "errors", "timeout": "timeouts", "nonfinite": "nonfinite"}[outcome.end]
                setattr(seen, name, getattr(seen, name) + 1)
                self._streak += 1

    def champion_answered(self, seconds: float) -> None:
        """Count how long the champion took."""
        with self._lock:
            self._now().champion.add(seconds)

    def beside(self, columns: Columns, values: np.ndarray, ids: Sequence[str]) -> None:
        """Put rows that the champion answered to a shadow; never waits."""
        if not self.answers_well:
            return
        own = _own_columns(self.candidate.model, columns)
        if own is None:  # it needs a column that nobody sends: it could not answer as champion
            self.saw(Outcome("error"), len(ids))
            return
        if not self.candidate.offer(Job(own, len(ids), lambda outcome: self._compare(outcome, values, ids))):
            self.saw(Outcome("dropped"), len(ids))

    def _compare(self, outcome: Outcome, values: np.ndarray, ids: Sequence[str]) -> None:
        """In the candidate's thread: count an outcome, how far it is from the champion's, and keep it for labels."""
        self.saw(outcome, len(ids))
        if outcome.values is None:
            return
        disagreements, difference = _apart(outcome.values, values)
        answers = self.candidate.model.shape_answer(outcome.values)
        kept = [ShadowAnswer(name, _encode(answer).decode()) for name, answer in zip(ids, answers, strict=True)]
        with self._lock:
            seen = self._now()
            seen.compared += len(ids)
            seen.disagreements += disagreements
            seen.difference += difference
            if len(self._answers) < MOST_UNWRITTEN:
                self._answers += kept

    def _now(self) -> Evidence:
        minute, (turns, last) = int(time.time() // 60), self._minute
        self._minute = (turns + (minute < last), minute)
        self._changed.add(self._minute)
        return self._minutes.setdefault(self._minute, Evidence())

    def write(self, book: Book, worker: str) -> None:
        """Write what is new into the ledger; what it does not take now is written later."""
        with self._lock:
            changed = {minute: total([self._minutes[minute]]) for minute in self._changed}
            self._changed.clear()
            answers = list(self._answers)
        try:
            if answers:
                book.add_shadow_answers(self.release, answers)
                with self._lock:
                    del self._answers[: len(answers)]
            for turns in sorted({turns for turns, _ in changed}):
                own = {minute: seen for (turn, minute), seen in changed.items() if turn == turns}
                book.put_evidence(self.release.seq, f"{worker}+{turns}" if turns else worker, own)
        except Exception:
            with self._lock:
                self._changed |= changed.keys()
            raise
        with self._lock:  # only the minute that runs can still change
            now = int(time.time() // 60)
            self._minutes = {m: seen for m, seen in self._minutes.items() if m[1] >= now or m in self._changed}


def _own_columns(model: ServedModel, columns: Columns) -> Columns | None:
    """A version's own columns out of those that another answered; `None` if it needs others."""
    own: Columns = {}
    for column in model.manifest.columns:
        values = columns.get(column.name)
        if values is None or (values.dtype == object) != (column.kind == "category"):
            return None
        own[column.name] = values
    return own


def _apart(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, float]:
    """How many rows disagree, and the sum of the differences; see `treadle.promotion.release.Evidence`."""
    if ours.shape != theirs.shape:  # other classes
        return len(ours), float(len(ours))
    if ours.ndim == 1:
        away = np.abs(ours - theirs)
        return int((away > TENTH * np.abs(theirs)).sum()), float(away.sum())
    return int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()), float(np.abs(ours - theirs).sum() / 2)
