"""One look of the watch in plain words, the same words on the page, in alerts and at the command line.

Reads the plain data that the watch flow gives (`treadle watch --json`). What is not there is not known, and is said so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from treadle.quality.words import BLIND
from treadle.settings import Settings

Data = Mapping[str, Any]

KINDS = {
    "input": "values moved",
    "missing": "missing values",
    "categories": "new or vanished categories",
    "schema": "schema changed",
    "prediction": "answers moved",
    "target": "labels moved",
    "quality": "errors grew",
    "segment": "one slice went bad",
}
"""What a finding's kind is called."""
FOLDER = "looks"
"""Below a project's reports; the service shows what is in it without scripts."""
MOST_NAMES = 8
LONGEST_NAME, LONGEST_WORDS = 60, 200


@dataclass(frozen=True)
class Moved:
    """One thing that moved.

    Attributes:
        name: A column, a slice, or what else the finding is about.
        kind: A key of `KINDS`; `input` for a plain column.
        statistic: How far it moved; `None` when not known.
        threshold: How far it might.
        effect: How large the change is; `None` when not known.
        since: Since when, as it was found.
        words: The finding in its own words.
    """

    name: str
    kind: str
    statistic: float | None = None
    threshold: float | None = None
    effect: float | None = None
    since: str | None = None
    words: str | None = None

    @property
    def said(self) -> str:
        """It in a few words.

        >>> Moved("temp", "input", 0.31, 0.1).said
        'temp: values moved (0.31, 0.1 allowed)'
        """
        figures = "" if self.statistic is None else f" ({number(self.statistic)}{self._allowed})"
        words = short(self.words, LONGEST_WORDS).rstrip(".") if self.words else None
        return f"{words or f'{short(self.name)}: {KINDS.get(self.kind, self.kind)}'}{figures}"

    @property
    def _allowed(self) -> str:
        return "" if self.threshold is None else f", {number(self.threshold)} allowed"


@dataclass(frozen=True)
class Words:
    """What a look says.

    Attributes:
        title: Project, version and verdict.
        happened: The verdict's reason.
        since: Since when it is so.
        columns: What moved.
        costs: What it costs, as far as that is known; at least one sentence.
        decided: Whether to retrain, and why.
        false_alarms: How often the rule is wrong; `None` when not measured.
        probation: How a new champion does against the one before it; `None` when none is on probation.
        steps: How a stream is followed; `None` when none is.
    """

    title: str
    happened: str
    since: str
    columns: str
    costs: tuple[str, ...]
    decided: str
    false_alarms: str | None
    probation: str | None = None
    steps: str | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Each part with its heading, in the order of the page."""
        parts = [
            ("What happened", self.happened),
            ("Since when", self.since),
            ("What moved", self.columns),
            ("What it costs", " ".join(self.costs)),
            ("What was decided", self.decided),
        ]
        more = [("Probation", self.probation), ("Steps", self.steps), ("False alarms", self.false_alarms)]
        return parts + [(heading, text) for heading, text in more if text]


def in_words(look: Data) -> Words:
    """Say a look."""
    version = f", version {look['version']}" if look.get("version") is not None else ""
    return Words(
        title=f"{look.get('project', 'model')}{version}: {look.get('verdict', 'not judged')}",
        happened=str(look.get("reason") or "The verdict gave no reason."),
        since=_since(look),
        columns=_columns(look),
        costs=tuple(_costs(look)),
        decided=_decided(look),
        false_alarms=_false_alarms(look),
        probation=(look.get("probation") or {}).get("reason"),
        steps=(look.get("followed") or {}).get("reason"),
    )


def page_name(at: datetime) -> str:
    """The file of a look, by its event time."""
    return f"{at:%Y%m%dT%H%M%S}.html"


def page_address(settings: Settings, project: str, at: datetime) -> str:
    """Where the service shows a look."""
    return f"{settings.api_url}/reports/{project}/{FOLDER}/{page_name(at)}"


def moved(look: Data) -> list[Moved]:
    """What moved: the findings, and columns that no finding names; the farthest beyond its threshold first.

    Of those that say the same in words, since two comparisons saw it, one stays.
    """
    found = [
        Moved(
            str(f.get("name", "?")), str(f.get("kind", "input")), figure(f.get("statistic")), figure(f.get("threshold")),
            figure(f.get("effect")), f.get("since"), f.get("said"),
        )
        for f in look.get("findings") or ()
        if f.get("drifted")
    ]  # fmt: skip
    named = {one.name for one in found}
    found += [
        Moved(str(c["name"]), "input", figure(c.get("statistic")), figure(c.get("threshold")))
        for c in look.get("columns") or ()
        if c.get("drifted") and str(c["name"]) not in named
    ]
    found.sort(key=lambda one: -((one.statistic or 0.0) / (one.threshold or 1.0)))
    said = [(one.name, one.words) for one in found]
    return [one for k, one in enumerate(found) if one.words is None or (one.name, one.words) not in said[:k]]


def _since(look: Data) -> str:
    since = look.get("since") or {}
    looks = since.get("looks")
    persistence = look.get("persistence") or {}
    seen = ""
    if persistence.get("of"):
        needed = persistence.get("needed")
        seen = (
            f" {persistence.get('looks')} of the last {persistence['of']} looks found it; "
            f"{needed} {'is' if needed == 1 else 'are'} needed."
        )
    if looks is None:
        return f"Not known.{seen}"
    if looks <= 1:
        return f"This look is the first to say so, as of {moment(since.get('at'))}.{seen}"
    return f"Since {moment(since.get('at'))}, {looks} looks in a row.{seen}"


def _columns(look: Data) -> str:
    found = moved(look)
    if found:
        more = f"; and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
        return "; ".join(one.said for one in found[:MOST_NAMES]) + more + "."
    if look.get("columns") or look.get("findings"):
        return f"Nothing: {len(look.get('columns') or look['findings'])} columns are where they were."
    return "Not known: this window was not compared."


def _costs(look: Data) -> Iterator[str]:
    """What is known of the costs; `unknown` is said, and never 0."""
    known = [*_impact(look.get("impact") or {}), *_quality(look.get("quality") or {}), *_estimate(look)]
    yield from known or ["Not known: there are too few labels, and no estimate of the errors."]
    yield from _coverage(look)


def _impact(impact: Data) -> Iterator[str]:
    harm, reason = figure(impact.get("harm")), impact.get("reason")
    if reason:
        yield str(reason)
    elif harm is not None:
        yield f"What moved is estimated to change the model's loss by {harm:+.1%}."


def _quality(quality: Data) -> Iterator[str]:
    window, normal = figure(quality.get("window")), figure(quality.get("reference"))
    if window is not None and normal is not None:
        on = f" on {quality['labelled']} labelled predictions" if quality.get("labelled") is not None else ""
        baseline = figure(quality.get("baseline"))
        beside = "" if baseline is None else f" The trivial baseline would have {number(baseline)} on the same rows."
        yield f"Mean {quality.get('loss') or 'loss'} {number(window)}{on}; {number(normal)} was normal.{beside}"


def _estimate(look: Data) -> Iterator[str]:
    estimate = look.get("estimate") or {}
    value, low, high = (figure(estimate.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return
    between = f", between {number(low)} and {number(high)}" if low is not None and high is not None else ""
    yield f"Estimated {estimate.get('metric', 'metric')} now: {number(value)}{between}."
    record = estimate.get("track_record") or {}
    error = figure(record.get("mean_absolute_error"))
    if error is not None:
        yield f"So far such estimates were off by {number(error)} on average, in {record.get('windows')} windows."
    if outside := figure(estimate.get("outside")):
        yield f"{outside:.1%} of the rows have values that the model never learned from."
    yield BLIND


def _coverage(look: Data) -> Iterator[str]:
    coverage = look.get("coverage") or {}
    answered, labelled = coverage.get("answered"), coverage.get("labelled")
    if answered:
        share = figure(coverage.get("share"))
        known = f" ({share:.0%})" if share is not None else ""
        yield f"Labels have come for {labelled or 0:,} of {answered:,} predictions{known}."
    if again := (look.get("window") or {}).get("answered_again"):
        yield f"{again:,} of the labelled rows that judge this version were answered by another first, and by this one again."


def _decided(look: Data) -> str:
    if look.get("retrain") is None:
        return "Nothing was decided yet."
    rule = f" (the rule: {look['suppressed']})" if look.get("suppressed") and not look["retrain"] else ""
    return f"{'Retrain' if look['retrain'] else 'No retrain'}{rule}. {look.get('retrain_reason') or ''}".rstrip()


def _false_alarms(look: Data) -> str | None:
    rate, quality = figure(look.get("false_alarm_rate")), look.get("quality") or {}
    said = []
    if rate is not None:
        said.append(f"Of quiet windows of this size this rule calls {rate:.1%} drift")
    if stretches := quality.get("quiet_stretches"):
        alarms = quality.get("quiet_alarms") or 0
        said.append(f"Of {stretches} quiet stretches with as many labelled days this rule calls {alarms} lost")
    return " ".join(f"{sentence}, measured on the version's own reference." for sentence in said) or None


def short(text: object, most: int = LONGEST_NAME) -> str:
    """A name on one line, without what terminals and chats obey, and not too long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def some(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Some of the names.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(short(name) for name in names[:most]) + more


def moment(value: str | datetime | None) -> str:
    """A time as people read it, in UTC.

    >>> moment("2011-04-15T00:00:00+00:00")
    '2011-04-15 00:00 UTC'
    """
    if value is None:
        return "an unknown time"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"{text[:16].replace('T', ' ')} UTC"


def number(value: float) -> str:
    """Four digits that tell something."""
    return f"{value:.4g}"


def figure(value: Any) -> float | None:
    """A finite number, or `None`: neither NaN nor text is a figure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
