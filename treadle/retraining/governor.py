"""The governor: decides whether a wish to retrain becomes a train run, and remembers every wish that did not.

The check and its record are one transaction that others wait for, so two watches at once cannot both say yes. A wish
that was held back waits; all that wait become at most one follow-up. Knows nothing of Prefect.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from treadle.errors import Conflict
from treadle.ledger import Ledger
from treadle.ledger import triggers as rows
from treadle.ledger.records import to_us
from treadle.ledger.triggers import Judged, State, Trigger
from treadle.project import Project
from treadle.retraining.breaker import say_breaker, streak_of
from treadle.retraining.doubt import fresh_for_step
from treadle.retraining.policy import FINAL, LIMITED, NIGHTLY, Circumstances, Decision, Streak, decide
from treadle.retraining.steps import Followed, followed_of

DAY = timedelta(days=1)
UNSURE = timedelta(seconds=60)
"""Wall-clock time after which a grant that was not asked for is: who granted it has died in between."""
ASK_AGAIN = timedelta(minutes=10)
"""Wall-clock time after which a train run that has not begun is asked for again."""
BEGINNING = timedelta(minutes=2)
"""Wall-clock time that a train run has between its begin and its lease."""


@dataclass(frozen=True)
class Outcome:
    """What was decided.

    Attributes:
        trigger: Its number, when somebody wished to retrain.
        ask: Granted triggers whose train run is to be asked for now, in this order.
    """

    decision: Decision
    trigger: int | None = None
    ask: tuple[Trigger, ...] = ()


@dataclass(frozen=True)
class Standing:
    """How a project stands with its governor.

    Attributes:
        breaker: Why no retrain is tried now, in plain words; `None` while the breaker is closed.
        turned_down: Challengers turned down in a row.
        waiting: Triggers that wait for one follow-up.
        asked: A retrain that was granted and that no train run has begun yet.
        suppressed: Triggers suppressed so far, by rule.
        retrains_today: Retrains in the 24 hours of event time before.
        followed: How a stream that is known to move is followed, in plain words; `None` when it is not.
    """

    breaker: str | None
    turned_down: int
    waiting: int
    asked: Trigger | None
    suppressed: dict[str, int] = field(default_factory=dict)
    retrains_today: int = 0
    followed: str | None = None


@dataclass(frozen=True)
class _Wish:
    """Who wants what, and why."""

    verdict: str
    said: str
    origin: str | None


@dataclass(frozen=True)
class _Facts:
    """What takes long to count, read before anybody is made to wait; `mark` tells whether it still holds."""

    mark: tuple[int | None, int | None]
    new_labels: int
    streak: Streak | None
    followed: Followed | None
    in_doubt: bool = False


class Governor:
    """Decides for one project."""

    def __init__(self, ledger: Ledger, project: Project) -> None:
        self._ledger = ledger
        self._project = project
        self._name = project.name

    def weigh(
        self, verdict: str, said: str, at: datetime, harm: float | None = None, origin: str | None = None
    ) -> Outcome:
        """Weigh a verdict, and write down what was decided and why.

        Args:
            verdict: The watch's verdict, or `nightly` for a train that the clock has begun.
            said: Its reason.
            at: Its event time.
            harm: By how much the inputs that moved raise the loss, if that is known.
            origin: The run that asks; when it asks again, after an outage, it gets the same answer.

        Raises:
            Conflict: The champion changed again and again meanwhile.
        """
        for _ in range(5):
            facts = self._facts(at)
            with self._ledger.engine.begin() as connection:
                rows.hold(connection, self._name)
                if self._mark(connection, rows.judged(connection, self._name)) != facts.mark:
                    continue
                before = rows.by_origin(connection, self._name, origin) if origin else None
                if before is not None:
                    return self._told_again(before)
                rows.settle_waiting(connection, self._name, facts.mark[0])
                now = self._circumstances(connection, at, facts, harm)
                return self._weigh(connection, _Wish(verdict, said, origin), now, facts)
        raise Conflict(f"The champion of '{self._name}' changed five times while a retrain was weighed; watch again.")

    # What is known

    def _facts(self, at: datetime) -> _Facts:
        with self._ledger.engine.connect() as connection:
            found = rows.judged(connection, self._name)
            mark = self._mark(connection, found)
        version = None if mark[0] is None else self._ledger.version(self._name, mark[0])
        since = version.data_until if version else None
        followed = followed_of(self._ledger, self._project, mark[0])
        streak = streak_of(self._ledger, self._project, found, at)
        if followed is None:
            return _Facts(mark, self._ledger.count_labelled_since(self._name, since, until=at), streak, None)
        fresh = fresh_for_step(self._ledger, self._project, followed, at)
        return _Facts(mark, fresh.labels, streak, followed, bool(fresh.doubts))

    def _mark(self, connection: Connection, found: Sequence[Judged]) -> tuple[int | None, int | None]:
        return rows.champion_of(connection, self._name), found[0].seq if found else None

    def _circumstances(self, connection: Connection, at: datetime, facts: _Facts, harm: float | None) -> Circumstances:
        name, rules, now = self._name, self._project.retrain, datetime.now(UTC)
        begun = [t for t in rows.in_state(connection, name, "running") if abs(now - (t.asked or t.arrived)) < BEGINNING]
        granted = rows.in_state(connection, name, "granted")
        return Circumstances(
            at=at,
            retrains=rows.retrains(connection, name, at, max(rules.cooldown, rules.every, DAY)),
            new_labels=facts.new_labels,
            cpu_minutes=rows.train_minutes(connection, name, at - DAY, at),
            in_flight=bool(begun) or rows.lease_is_held(connection, name),
            asked=granted[-1].at if granted else None,
            streak=facts.streak,
            harm=harm,
            followed=facts.followed,
            in_doubt=facts.in_doubt,
        )

    # What is decided

    def _weigh(self, connection: Connection, wish: _Wish, now: Circumstances, facts: _Facts) -> Outcome:
        again = self._to_ask_again(connection)
        if not now.in_flight:
            rows.end_dead(connection, self._name)
        decision = decide(wish.verdict, wish.said, self._project, now)
        if decision.asking is not None:
            wish = replace(wish, verdict=decision.asking)
            decision, seq = self._record(connection, wish, decision, now, facts)
        else:
            decision, seq = self._look_after(connection, wish, decision, now, facts)
        figures = json.dumps({"verdict": wish.verdict, "rule": decision.rule, "trigger": seq})
        kind = "retrain" if decision.retrain else "skip"
        rows.add_decision(connection, self._name, kind, decision.reason, figures, now.at)
        granted = rows.get(connection, seq) if seq is not None else None
        new = (granted,) if granted is not None and granted.state == "granted" else ()
        return Outcome(decision, seq, (*again, *new))

    def _look_after(
        self, connection: Connection, wish: _Wish, decision: Decision, now: Circumstances, facts: _Facts
    ) -> tuple[Decision, int | None]:
        """A verdict that asks for nothing: `ok` ends the waiting, one that cannot tell lets the follow-up through."""
        if wish.verdict == "ok":
            withdrawn = rows.withdraw_waiting(connection, self._name, "The model holds again.")
            said = f" {_many(withdrawn)} withdrawn: the model holds again." if withdrawn else ""
            return Decision(False, decision.reason + said), None
        waiting = rows.count_waiting(connection, self._name)
        if not waiting or wish.verdict != "insufficient-data":
            return decision, None
        earlier = rows.newest_waiting(connection, self._name)
        follow_up = decide(earlier.verdict, earlier.said, self._project, now)
        if not follow_up.retrain:
            return Decision(False, f"{decision.reason} {_many(waiting)} still held back: {follow_up.reason}"), None
        return self._record(connection, _Wish(earlier.verdict, earlier.said, wish.origin), follow_up, now, facts)

    def _record(
        self, connection: Connection, wish: _Wish, decision: Decision, now: Circumstances, facts: _Facts
    ) -> tuple[Decision, int]:
        """Write a trigger down; one that is granted answers all that wait, and says so."""
        row = {
            "model": self._name, "verdict": wish.verdict, "said": wish.said, "origin": wish.origin,
            "champion": facts.mark[0], "state": _state_of(wish.verdict, decision), "rule": decision.rule,
            "reason": decision.reason, "at_us": to_us(now.at),
        }  # fmt: skip
        seq = rows.add(connection, row)
        answered = rows.answer_waiting(connection, self._name, seq) if decision.retrain else 0
        if answered:
            decision = replace(decision, reason=f"{decision.reason} {_many(answered)} answered by it too.")
        return decision, seq

    def _to_ask_again(self, connection: Connection) -> tuple[Trigger, ...]:
        """Granted triggers that no train run has begun although it had the time."""
        now = datetime.now(UTC)
        granted = rows.in_state(connection, self._name, "granted")
        return tuple(t for t in granted if abs(now - (t.asked or t.arrived)) > (ASK_AGAIN if t.asked else UNSURE))

    def _told_again(self, before: Trigger) -> Outcome:
        said = Decision(before.rule is None, before.reason, before.rule, asking=before.verdict)
        return Outcome(said, before.seq, (before,) if before.state == "granted" else ())

    # What becomes of a grant

    def asked(self, seq: int) -> None:
        """The train run of a granted trigger was asked for."""
        with self._ledger.engine.begin() as connection:
            rows.change(connection, seq, "granted", asked_us=rows.now_us())

    def begin(self, seq: int, run_id: str) -> str | None:
        """Begin a granted trigger's train run; of several runs for one trigger only one may.

        Returns:
            Why this run may not, in plain words; `None` if it may.
        """
        with self._ledger.engine.begin() as connection:
            now = rows.now_us()
            values = {"state": "running", "run_id": run_id, "asked_us": now, "begun_us": now}
            if rows.change(connection, seq, "granted", **values):
                return None
            found = rows.get(connection, seq)
        if found is None or found.model != self._name:
            return f"Trigger {seq} of '{self._name}' is not known any more: the project was reset."
        if found.run_id == run_id and found.state == "running":  # this run again, after an outage
            return None
        return (
            f"Trigger {seq} of '{self._name}' is {found.state}; run {found.run_id or 'none'} was for it. Nothing done."
        )

    def end(self, seq: int, run_id: str) -> None:
        """The train run of a trigger is over, however it ended."""
        with self._ledger.engine.begin() as connection:
            found = rows.get(connection, seq)
            if found is not None and found.run_id == run_id:
                rows.change(connection, seq, "running", state="ended")

    # What people ask

    def standing(self, at: datetime | None = None) -> Standing:
        """How the project stands now."""
        moment = at or datetime.now(UTC)
        with self._ledger.engine.connect() as connection:
            found = rows.judged(connection, self._name)
            granted = rows.in_state(connection, self._name, "granted")
            waiting = rows.count_waiting(connection, self._name)
            counts = rows.suppressed(connection, self._name)
            today = [m for m in rows.retrains(connection, self._name, moment, DAY) if moment - DAY < m <= moment]
            champion = rows.champion_of(connection, self._name)
        streak = streak_of(self._ledger, self._project, found, moment)
        followed = followed_of(self._ledger, self._project, champion)
        return Standing(
            breaker=say_breaker(self._project, moment, streak),
            turned_down=streak.turned_down if streak else 0,
            waiting=waiting,
            asked=granted[-1] if granted else None,
            suppressed=counts,
            retrains_today=len(today),
            followed=followed.said if followed else None,
        )

    def last(self, most: int = 20) -> list[Trigger]:
        """The newest triggers, newest first."""
        with self._ledger.engine.connect() as connection:
            return rows.last(connection, self._name, most)


def _state_of(verdict: str, decision: Decision) -> State:
    """A night's train runs already; a night and a window ask again by themselves, others wait unless their rule is final."""
    if decision.retrain:
        return "ended" if verdict == NIGHTLY else "granted"
    return "refused" if verdict in LIMITED or decision.rule in FINAL else "held"


def _many(triggers: int) -> str:
    return f"{triggers} earlier trigger{' is' if triggers == 1 else 's are'}"
