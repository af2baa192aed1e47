"""One look of the watch in plain words, the same words on the page, in alerts and at the command line.

Reads the plain data that the watch flow gives (`treadle watch --json`). What is not there is not known, and is said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from treadle.quality.words import say_coverage, say_estimate
from treadle.settings import Settings
from treadle.wording import MOST_NAMES, figure, number, short, some

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
LONGEST_WORDS = 200


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
        'temp: values moved (distance 0.31, 0.1 allowed)'
        """
        figures = "" if self.statistic is None else f" ({self.measured})"
        words = short(self.words, LONGEST_WORDS).rstrip(".") if self.words else None
        return f"{words or f'{short(self.name)}: {KINDS.get(self.kind, self.kind)}'}{figures}"

    @property
    def title(self) -> str:
        """What moved, by the name that people know it by."""
        return {"prediction": "the answers", "target": "the labels", "quality": "the errors of all"}.get(
            self.kind, self.name
        )

    @property
    def measured(self) -> str:
        """The figure beside its threshold, each as what it is."""
        distance = number(self.statistic or 0.0)
        allowed = "" if self.threshold is None else f", {number(self.threshold)} allowed"
        if self.kind == "quality":
            return f"chance allowed for, at least {distance} times"
        if self.kind == "segment":
            return f"{number(self.threshold or 0.0)} times allowed"
        return f"distance {distance}{allowed}"


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


def span_in_words(span: Data) -> dict[str, str]:
    """One window of quality by prediction time; what is not known is a word and not a number."""
    measured, estimate, low, high = (figure(span.get(key)) for key in ("metric", "estimate", "low", "high"))
    between = f" ({number(low)} to {number(high)})" if low is not None and high is not None else ""
    unknown = "too few labels" if span.get("labelled") else "unknown"
    return {
        "answered between": f"{moment(span.get('from'))} and {moment(span.get('to'))}",
        "with labels": f"{span.get('labelled') or 0:,} of {span.get('answered') or 0:,}",
        "measured": unknown if measured is None else number(measured),
        "estimated before": "unknown" if estimate is None else f"{number(estimate)}{between}",
    }


def _since(look: Data) -> str:
    since = look.get("since") or {}
    looks = since.get("looks")
    seen = _persistence(look.get("persistence") or {})
    if looks is None:
        return f"Not known.{seen}"
    if looks <= 1:
        return f"This look is the first to say so, as of {moment(since.get('at'))}.{seen}"
    verdict = look.get("verdict", "the same")
    return f"The verdict is {verdict} since {moment(since.get('at'))}, {looks} looks in a row.{_lately(look)}{seen}"


def _persistence(persistence: Data) -> str:
    """In how many looks it was seen, and whether that is enough."""
    needed, of = persistence.get("needed"), persistence.get("of")
    if not of:
        return ""
    if needed == 1:
        return " One look is enough."
    return f" {persistence.get('looks')} of the last {of} looks found it; {needed} are needed."


def _lately(look: Data) -> str:
    """Since when each thing moves that did not from the verdict's first look on, since looks in a row need not find the same."""
    by_time: dict[str, list[str]] = {}
    for one in moved(look):
        if one.since:
            by_time.setdefault(one.since, []).append(one.title)
    first = (look.get("since") or {}).get("at")
    if set(by_time) <= {first}:
        return ""
    told = [f"{some(list(dict.fromkeys(names)), 3)} since {moment(at)}" for at, names in sorted(by_time.items())]
    return f" What it finds now: {'; '.join(told)}."


def _columns(look: Data) -> str:
    found = moved(look)
    if found:
        more = f"; and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
        return "; ".join(one.said for one in found[:MOST_NAMES]) + more + "."
    if look.get("columns") or look.get("findings"):
        return f"Nothing: {len(look.get('columns') or look['findings'])} columns are where they were."
    return "Not known: this window was not compared."


def _costs(look: Data) -> Iterator[str]:
    """What is known of the costs; `unknown` is said, and never 0. What labels say comes first."""
    known = [*_quality(look.get("quality") or {}), *_impact(look)]
    known += [estimate] if (estimate := say_estimate(look.get("estimate"))) else []
    yield from known or ["Not known: there are too few labels, and no estimate of the errors."]
    yield from _coverage(look)


def _impact(look: Data) -> Iterator[str]:
    """What moved inputs cost; nothing of it where none moved and labels say that something else costs."""
    impact = look.get("impact") or {}
    harm, reason = figure(impact.get("harm")), impact.get("reason")
    if look.get("verdict") == "quality-loss" and not any(column.get("moved") for column in impact.get("columns") or ()):
        return
    if reason:
        yield str(reason)
    elif harm is not None:
        yield f"What moved is estimated to change the model's loss by {harm:+.1%}."


def _quality(quality: Data) -> Iterator[str]:
    window, normal = figure(quality.get("window")), figure(quality.get("reference"))
    if window is not None and normal is not None:
        on = f" on {quality['labelled']:,} labelled predictions" if quality.get("labelled") is not None else ""
        baseline = figure(quality.get("baseline"))
        beside = "" if baseline is None else f" The trivial baseline would have {number(baseline)} on the same rows."
        yield f"Mean {quality.get('loss') or 'loss'} {number(window)}{on}; {number(normal)} was normal.{beside}"


def _coverage(look: Data) -> Iterator[str]:
    coverage, window = look.get("coverage") or {}, look.get("window") or {}
    if said := say_coverage(coverage):
        yield said
    again = window.get("answered_again") or 0
    older = (window.get("labelled") or 0) - (coverage.get("labelled") or 0) - again
    if coverage and older > 0:
        yield f"{older:,} older labelled row{'' if older == 1 else 's'} of this version judge{'s' if older == 1 else ''} its errors, too."
    if again:
        yield f"{again:,} of the labelled rows that judge this version were answered by another first, and by this one again."


def _decided(look: Data) -> str:
    if look.get("retrain") is None:
        return "Nothing was decided yet."
    rule = f" (the rule: {look['suppressed']})" if look.get("suppressed") and not look["retrain"] else ""
    why = str(look.get("retrain_reason") or "")
    if happened := look.get("reason"):  # stands above already
        why = why.replace(f": {happened}", ", for what happened above.", 1)
    return f"{'Retrain' if look['retrain'] else 'No retrain'}{rule}. {why}".rstrip()


def _false_alarms(look: Data) -> str | None:
    rate, quality = figure(look.get("false_alarm_rate")), look.get("quality") or {}
    said = []
    if rate is not None:
        said.append(f"Of quiet windows of this size this rule calls {rate:.1%} drift")
    if stretches := quality.get("quiet_stretches"):
        alarms = quality.get("quiet_alarms") or 0
        said.append(f"Of {stretches} quiet stretches with as many labelled days this rule calls {alarms} lost")
    return " ".join(f"{sentence}, measured on the version's own reference." for sentence in said) or None


def moment(value: str | datetime | None) -> str:
    """A time as people read it, in UTC.

    >>> moment("2011-04-15T00:00:00+00:00")
    '2011-04-15 00:00 UTC'
    """
    if value is None:
        return "an unknown time"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"{text[:16].replace('T', ' ')} UTC"
