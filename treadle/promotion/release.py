"""A release: a version on its way to become champion, tried on live requests. Judges the evidence; it changes nothing.

Knows nothing of the ledger, of processes or of requests. A shadow answers beside the champion and nobody sees it; a canary
answers a share of callers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["shadow", "canary"]
State = Literal["running", "advanced", "rolled_back", "stopped"]
Decision = Literal["continue", "ask", "advance", "roll back"]

GAMMA = 1.1
"""Buckets of latencies grow by a tenth, so a quantile is right to 5 %."""
SHORTEST_S = 1e-6
FEWEST_FAILURES = 3
"""Fewer requests that failed are no reason to roll back."""
FEWEST_TIMED = 20
"""Requests without which latencies are not compared."""
QUANTILE = 0.95
SAMPLES = 1000
MOST_LABELLED = 6400
"""Newer labels than these change nothing any more; the last look has been taken."""
TENTH = 0.1


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a release ends, and how. Written into its row, so that every worker judges alike.

    Attributes:
        metric: The metric that labels are judged by.
        min_answers: Rows that the candidate must have answered before it may advance.
        min_minutes: Minutes for which the release must have run.
        min_labelled: Labelled rows of each side from which on quality is judged.
        confidence: Of every judgement of quality, all looks together.
        margin: The candidate may be worse by this share of the champion's loss and still be called not worse.
        max_failures: Share of requests that the candidate may fail.
        deadline_s: Seconds in which the candidate must answer.
        slower: How many times the champion's 95th percentile the candidate's may be.
        floor_s: A candidate below this 95th percentile is never too slow.
        advance: Whether a release that has passed becomes champion by itself, or waits for a person.
    """

    metric: str
    min_answers: int = 500
    min_minutes: float = 10.0
    min_labelled: int = 50
    confidence: float = 0.9
    margin: float = 0.02
    max_failures: float = 0.02
    deadline_s: float = 1.0
    slower: float = 3.0
    floor_s: float = 0.05
    advance: Literal["auto", "human"] = "auto"


@dataclass
class Latencies:
    """How often which latency was seen, in buckets that grow by `GAMMA`: sketches of many workers add up.

    Source: C. Masson, J. Rim and H. Lee, DDSketch (VLDB 2019).
    """

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S, GAMMA))
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """The latency, seconds, below which this share is; 0 when none was counted.

        >>> seen = Latencies()
        >>> for ms in range(1, 101): seen.add(ms / 1000)
        >>> 0.9 < seen.quantile(0.95) / 0.095 < 1.1
        True
        """
        left = share * self.count
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return SHORTEST_S * GAMMA**bucket * 2 / (1 + GAMMA)
        return 0.0

    def take(self, other: Latencies) -> None:
        """Add another sketch to this one."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count


@dataclass
class Evidence:
    """What was seen of a candidate, and of the champion on the same or on other requests.

    Attributes:
        answers: Requests that the candidate answered well.
        rows: Rows in them.
        errors: Requests at which it raised, crashed, wanted too much memory or gave a wrong shape.
        timeouts: Requests at which it exceeded its deadline.
        nonfinite: Requests to which the champion had a finite answer and the candidate had none.
        dropped: Requests that it was never asked, since others waited; they say nothing about it.
        compared: Rows that both answered.
        disagreements: Rows with another class, or a number more than a tenth away.
        difference: Sum over these rows of the absolute difference, or of half the sum of those of the probabilities.
        candidate: Its latencies, one a request.
        champion: The champion's.
    """

    answers: int = 0
    rows: int = 0
    errors: int = 0
    timeouts: int = 0
    nonfinite: int = 0
    dropped: int = 0
    compared: int = 0
    disagreements: int = 0
    difference: float = 0.0
    candidate: Latencies = field(default_factory=Latencies)
    champion: Latencies = field(default_factory=Latencies)

    @property
    def failures(self) -> int:
        """Requests that it failed."""
        return self.errors + self.timeouts + self.nonfinite

    @property
    def failed_share(self) -> float:
        """Share of the requests that it was asked."""
        return self.failures / max(1, self.failures + self.answers)

    def take(self, other: Evidence) -> None:
        """Add another's."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.candidate.take(other.candidate)
        self.champion.take(other.champion)

    def figures(self) -> dict[str, Any]:
        """It in plain numbers, for the record and for people."""
        counted = {name: getattr(self, name) for name in COUNTS}
        return counted | {
            "failed_share": round(self.failed_share, 4),
            "disagreement_share": round(self.disagreements / max(1, self.compared), 4),
            "mean_difference": self.difference / max(1, self.compared),
            "candidate_p95_s": self.candidate.quantile(QUANTILE),
            "champion_p95_s": self.champion.quantile(QUANTILE),
        }


COUNTS = ("answers", "rows", "errors", "timeouts", "nonfinite", "dropped", "compared", "disagreements", "difference")


def total(parts: Iterable[Evidence]) -> Evidence:
    """All of them together."""
    whole = Evidence()
    for part in parts:
        whole.take(part)
    return whole


@dataclass(frozen=True)
class Losses:
    """Losses of labelled rows, in the order in which the labels came.

    Attributes:
        champion: Of rows that the champion answered (n,).
        candidate: Of rows that the candidate answered (m,).
        paired: Whether both answered the same rows, one to one.
        champion_blocks: The day of each of the champion's rows (n,): rows of one day are drawn together.
        candidate_blocks: The same of the candidate's (m,).
    """

    champion: np.ndarray
    candidate: np.ndarray
    paired: bool
    champion_blocks: np.ndarray | None = None
    candidate_blocks: np.ndarray | None = None


@dataclass(frozen=True)
class Quality:
    """What labels say so far.

    Attributes:
        worse: The candidate is worse, at the stated confidence.
        not_worse: It is not worse by more than the margin, at the stated confidence.
        champion: Mean loss of the champion.
        candidate: Mean loss of the candidate.
        probability: Share of bootstrap samples in which the candidate has the lower mean loss.
        needed: Share that is needed at this look, for either finding.
        rows: Labelled rows of each side.
    """

    worse: bool
    not_worse: bool
    champion: float
    candidate: float
    probability: float
    needed: float
    rows: int

    def figures(self) -> dict[str, Any]:
        """It in plain numbers."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def look_at(losses: Losses, rules: Rules, seed: int = 0) -> Quality | None:
    """Compare the losses, at the last look that is due; `None` while there are fewer labels than the first one needs.

    Looking at every new label until chance says what one waits for would find every candidate worse some day. So looks are
    taken at `min_labelled` rows and at each doubling, whenever this is called, and the k-th look (from 0) may err with
    probability (1 - confidence) / 2^(k+1): all looks together with 1 - confidence.

    Args:
        losses: Every labelled row so far.
        rules: The confidence and the margin.
        seed: Of the bootstrap; the same input gives the same quality.

    Source: bootstrap of a difference of means, paired or of two samples, B. Efron and R. Tibshirani (1993), chapter 16;
        the division of the error is Bonferroni's.
    """
    import numpy as np

    known = _known(losses)
    least = min(len(known.champion), len(known.candidate), MOST_LABELLED)
    if least < rules.min_labelled:
        return None
    look = int(math.log2(least / rules.min_labelled))
    rows = rules.min_labelled * 2**look
    needed = 1 - (1 - rules.confidence) / 2 ** (look + 1)
    old, new = known.champion[:rows], known.candidate[:rows]
    gains = _drawn_gains(known, rows, np.random.default_rng(seed))
    gain, margin = float(old.mean() - new.mean()), rules.margin * float(old.mean())
    return Quality(
        worse=bool(np.mean(gains < 0) >= needed and gain < -margin),
        not_worse=bool(np.mean(gains >= -margin) >= needed),
        champion=float(old.mean()),
        candidate=float(new.mean()),
        probability=float(np.mean(gains > 0)),
        needed=needed,
        rows=rows,
    )


def _known(losses: Losses) -> Losses:
    """Without the rows whose loss is not a number."""
    import numpy as np

    old, new = np.isfinite(losses.champion), np.isfinite(losses.candidate)
    if losses.paired:
        old = new = old & new
    blocks = [
        labels if labels is None else labels[kept]
        for labels, kept in ((losses.champion_blocks, old), (losses.candidate_blocks, new))
    ]
    return Losses(losses.champion[old], losses.candidate[new], losses.paired, *blocks)


def _drawn_gains(losses: Losses, rows: int, rng: np.random.Generator) -> np.ndarray:
    """How much lower the candidate's mean loss is, in each bootstrap sample (SAMPLES,)."""
    import numpy as np

    from treadle.bootstrap import resamples

    old, new = losses.champion[:rows], losses.candidate[:rows]
    old_blocks, new_blocks = (
        None if b is None else b[:rows] for b in (losses.champion_blocks, losses.candidate_blocks)
    )
    if losses.paired:
        gains = old - new
        return np.array([gains[drawn].mean() for drawn in resamples(rows, old_blocks, rng, SAMPLES)])
    both = zip(resamples(rows, old_blocks, rng, SAMPLES), resamples(rows, new_blocks, rng, SAMPLES), strict=True)
    return np.array([old[first].mean() - new[second].mean() for first, second in both])


@dataclass(frozen=True)
class Judgement:
    """What shall become of a release, why in plain words, and the figures behind it."""

    decision: Decision
    reason: str
    figures: dict[str, Any]


def judge(evidence: Evidence, recent: Evidence, minutes: float, rules: Rules, quality: Quality | None) -> Judgement:
    """Judge a release.

    Args:
        evidence: All of it.
        recent: That of the last two minutes: who begins to fail is not saved by a good past.
        minutes: For how long it has run.
        rules: Its rules.
        quality: What labels say, if there are enough.
    """
    figures = evidence.figures() | {"minutes": round(minutes, 2), "quality": quality and quality.figures()}
    for seen, span in ((recent, "In the last two minutes"), (evidence, "In all")):
        if why := _fails(seen, span, rules) or _is_slow(seen, span, rules):
            return Judgement("roll back", why, figures)
    if quality is not None and quality.worse:
        return Judgement("roll back", f"{_say_quality(quality, rules)}: it is worse.", figures)
    if missing := _missing(evidence, minutes, rules, quality):
        return Judgement("continue", f"Still needed: {missing}.", figures)
    labels = _say_quality(quality, rules) if quality else f"Fewer than {rules.min_labelled} labels came"
    reason = (
        f"It answered {evidence.rows:,} rows in {minutes:.0f} minutes, {evidence.failed_share:.1%} of the requests failed. "
        f"{labels}."
    )
    if rules.advance == "human":
        return Judgement("ask", f"{reason} It waits for a person: `treadle release advance`.", figures)
    return Judgement("advance", reason, figures)


def _fails(seen: Evidence, span: str, rules: Rules) -> str | None:
    if seen.failures < FEWEST_FAILURES or seen.failed_share <= rules.max_failures:
        return None
    return (
        f"{span} it failed {seen.failures} of {seen.failures + seen.answers} requests ({seen.failed_share:.0%}; "
        f"{rules.max_failures:.0%} are allowed): {seen.errors} errors, {seen.timeouts} too late, {seen.nonfinite} not finite."
    )


def _is_slow(seen: Evidence, span: str, rules: Rules) -> str | None:
    if min(seen.candidate.count, seen.champion.count) < FEWEST_TIMED:
        return None
    new, old = seen.candidate.quantile(QUANTILE), seen.champion.quantile(QUANTILE)
    if new <= max(rules.slower * old, rules.floor_s):
        return None
    return (
        f"{span} 95 % of its answers took up to {new * 1000:.0f} ms, the champion's {old * 1000:.0f} ms; allowed are "
        f"{rules.slower:g} times as much, and always {rules.floor_s * 1000:.0f} ms."
    )


def _missing(evidence: Evidence, minutes: float, rules: Rules, quality: Quality | None) -> str:
    missing = []
    if evidence.rows < rules.min_answers:
        missing.append(f"{rules.min_answers - evidence.rows:,} answers")
    if minutes < rules.min_minutes:
        missing.append(f"{rules.min_minutes - minutes:.1f} minutes")
    if quality is not None and not quality.not_worse:
        missing.append(f"labels that say more than these ({_say_quality(quality, rules)})")
    return ", ".join(missing)


def _say_quality(quality: Quality, rules: Rules) -> str:
    return (
        f"On {quality.rows:,} labelled rows its mean loss for {rules.metric} is {quality.candidate:.4g} against "
        f"{quality.champion:.4g}, lower in {quality.probability:.0%} of the resamples"
    )


def place(salt: str, caller: bytes) -> float:
    """Where a caller falls in [0, 1): the same for a release whenever and by whichever worker it is asked.

    >>> place("a", b"key") == place("a", b"key") != place("b", b"key")
    True
    """
    found = hashlib.blake2b(caller, digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(found, "big") / 2**64
