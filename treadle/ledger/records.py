"""What goes into the ledger and what comes out of it: plain values with aware UTC times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it judges with NumPy, which the ledger does without
    from treadle.promotion.release import Mode, Rules, State


@dataclass(frozen=True, slots=True)
class Feedback:
    """The label of a prediction, and the event time at which it became known."""

    id: str
    label: Any
    at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch of labels.

    Attributes:
        accepted: New ones.
        repeated: Ones that were there already.
        early: Ones that wait for their prediction.
        ahead: Of all these, ones that are dated in the future: they count when their time comes.
    """

    accepted: int
    repeated: int
    early: int = 0
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A prediction joined with its label; `label` is `None` while unknown."""

    id: str
    version: int
    at: datetime
    features: dict[str, Any]
    answer: dict[str, Any]
    label: Any


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version.

    Attributes:
        bundle: The bundle's folder, relative to the installation's home.
        params: The parameters that reproduce the fit.
        data_until: Event time of the newest row it learned from.
    """

    model: str
    version: int
    run_id: str
    bundle: str
    digest: str
    family: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data_until: datetime | None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Champion:
    """Which version serves, which served before, and how often that has changed."""

    version: int
    previous: int | None
    fence: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a version became champion.

    Attributes:
        from_version: The champion before it; `None` if it was the first.
        fence: How often the champion had changed with it.
        verdict: `promoted`, `followed`, `approved`, `advanced`, `by-hand` or `rollback`.
        figures: What was measured for it, as plain data.
        at: Event time.
    """

    version: int
    from_version: int | None
    fence: int
    verdict: str
    reason: str
    figures: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to train one model; a higher fence makes every lower one void."""

    model: str
    holder: str
    fence: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What a look at a window said."""

    version: int | None
    verdict: str
    reason: str
    rows: int
    labelled: int
    figures: dict[str, Any]
    report: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class QualityWindow:
    """The quality of what was answered in a span of event time.

    Attributes:
        answered: Predictions of the span.
        labelled: Those whose label is known.
        value: The metric of these; `None` while they are too few.
        estimate: `value`, `low` and `high` as they were expected before labels came; `None` where nothing could be.
    """

    begin: datetime
    end: datetime
    metric: str
    answered: int
    labelled: int
    value: float | None
    estimate: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision and its reason."""

    kind: str
    reason: str
    figures: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """A version on its way to become champion, tried on live requests; see `treadle.promotion.release`.

    Attributes:
        seq: Its number, for all models together.
        champion: The version that it is compared with.
        mode: `shadow` or `canary`.
        share: Share of callers that a canary answers, 0 to 1.
        salt: What callers are placed by.
        rules: When it ends, and how.
        state: `running`, `advanced`, `rolled_back` or `stopped`.
        ended: `None` while it runs.
        reason: Why it is in this state, in plain words.
        figures: What was seen of it when it was judged last.
        who: Who started it.
    """

    seq: int
    model: str
    version: int
    champion: int
    mode: Mode
    share: float
    salt: str
    rules: Rules
    state: State
    started: datetime
    ended: datetime | None
    reason: str
    figures: dict[str, Any]
    who: str


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 in UTC.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(micros: int) -> datetime:
    """The aware UTC time of `to_us`."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
