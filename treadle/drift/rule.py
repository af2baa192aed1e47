"""The rule: what is compared, in which order, and which of it makes the verdict."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from treadle.drift.answers import compare_predictions, compare_targets
from treadle.drift.family import findings, quiet_rate
from treadle.drift.inputs import compare_inputs
from treadle.drift.quality import Null, compare_losses, is_lost
from treadle.drift.quiet import measured
from treadle.drift.records import ColumnDrift, Finding, Judgement, Look, Persistence, Quality, Reference, Window
from treadle.drift.segments import compare_slices
from treadle.drift.shape import absurd_losses, broken, extra, monotonous
from treadle.drift.stretches import settle_loss
from treadle.project import Watch
from treadle.tables.schema import Column
from treadle.wording import some

INPUTS = 0.0075  # a quiet window's inputs are called moved at most so often, over all columns together
ANSWERS = 0.00125  # the same of its answers, and again of its labels
MOST_SAID = 3  # findings that a reason tells in full


def judge(
    reference: Reference, window: Window, columns: Sequence[Column], watch: Watch, seed: int = 0,
    past: Sequence[Look] = (), at: datetime | None = None, *, classes: Sequence[str] | None = None,
    untold: Container[str] = (),
) -> Judgement:  # fmt: skip
    """Judge a window. The schema comes first, then the number of rows, then quality where labels suffice, else the rest.

    Args:
        reference: What was normal.
        window: What is to be judged.
        columns: The model's feature columns; times are left out, since they move by nature.
        watch: The project's thresholds.
        seed: Where chance comes from.
        past: Earlier looks at the same version, newest first.
        at: Event time of this look, for `since`.
        classes: What targets are indexes into; `None` where they are numbers.
        untold: Columns of which no value may be told: they are compared, but no slice is made of them and no category named.
    """
    odd = broken(reference, window, columns) if len(window.rows) else []
    wrong = odd[0].said if odd else absurd_losses(reference, window)
    if not len(reference.rows):
        odd = broken(reference, window, columns)
        wrong = odd[0].said
    if wrong:
        more = f" And {len(odd) - 1} more columns." if len(odd) > 1 else ""
        return Judgement("invalid", wrong + more, findings=tuple(odd))
    n = len(window.rows)
    if n < watch.min_rows:
        return Judgement(
            "insufficient-data",
            f"{n} prediction{'' if n == 1 else 's'} of this version; {watch.min_rows} are needed to judge.",
        )
    reference, window, absurd = _finite(reference, window)
    families = (
        (compare_inputs(reference, window, columns, untold), INPUTS),
        (compare_predictions(reference, window, classes), ANSWERS),
        (compare_targets(reference, window, classes), ANSWERS),
    )
    found = [finding for comparisons, level in families for finding in findings(comparisons, level)]
    told = [column for column in columns if column.name not in untold]  # a slice is told by its value
    quality, lost = _quality(reference, window, told, watch, seed)
    found = [_dated(f, past, at) for f in [*extra(reference, window, columns), *found, *lost]]
    rate, blocks = quiet_rate(families)
    judged = Judgement("ok", "", _by_column(found), quality, tuple(found), rate, blocks)
    if quality is not None:
        judged = replace(judged, persistence=_persistence(_lost(found), _apart(past, at, reference, window), watch))
        if _lasts(judged) and is_lost(quality):
            quality = measured(quality, reference, window, seed)
            judged = replace(judged, quality=quality)
        if _lasts(judged) or _speak_of(window, watch):
            return _by_quality(judged, quality, window, absurd)
    moved = _persistence(_moved(found), past, watch)
    if quality is not None and moved is None:
        return _by_quality(judged, quality, window, absurd, older=True)
    return _by_inputs(replace(judged, persistence=moved), reference, window, columns, watch, absurd)


def _finite(reference: Reference, window: Window) -> tuple[Reference, Window, int]:
    """Both without losses that are no numbers, and how many of the window's were: one absurd label hides no other."""
    known = np.isfinite(reference.losses)
    reference = replace(
        reference,
        losses=reference.losses[known],
        loss_days=reference.loss_days[known],
        judged=None if reference.judged is None else reference.judged[known],
    )
    known = np.isfinite(window.losses)
    return reference, window.judged_by(known), int((~known).sum())


def _quality(
    reference: Reference, window: Window, columns: Sequence[Column], watch: Watch, seed: int
) -> tuple[Quality | None, list[Finding]]:
    """The loss, of all rows and of the slices by some columns; `None` and nothing where labels are too few to tell."""
    if len(window.losses) < watch.min_labelled or len(reference.losses) < 2:
        return None, []
    null = Null(reference, window, seed)
    whole = compare_losses(reference, window, null, seed)
    quality, certain = settle_loss(whole, reference, window, seed, watch.min_labelled)
    slices = compare_slices(reference, window, columns, null)
    return quality, [
        _of_quality(quality, certain=certain),
        *(_beyond_all(slices, quality) if is_lost(quality) else slices),
    ]


def _of_quality(quality: Quality, *, certain: bool) -> Finding:
    said = f"the loss is {quality.ratio:.2f} times what was normal"
    if quality.useless:
        said += ", and above that of the trivial baseline"
    lower, ratio = round(quality.lower, 4), round(quality.ratio, 4)
    return Finding("quality", "loss", lower, 1.0, ratio, is_lost(quality), certain, said)


def _beyond_all(slices: Sequence[Finding], quality: Quality) -> list[Finding]:
    """Where the loss grew over all rows, a slice has gone bad by itself only if it grew by so much more than they did."""
    return [replace(f, drifted=f.drifted and f.statistic > f.threshold * quality.ratio) for f in slices]


def _dated(finding: Finding, past: Sequence[Look], at: datetime | None) -> Finding:
    """The finding with the first look of those without a gap that found it."""
    if not finding.drifted:
        return finding
    since = at
    for look in past:
        if finding.key not in look.found:
            break
        since = look.at
    return replace(finding, since=since)


def _by_column(found: Sequence[Finding]) -> tuple[ColumnDrift, ...]:
    """Of each input the finding that exceeds most."""
    best: dict[str, Finding] = {}
    for finding in found:
        if finding.kind in ("input", "missing", "categories"):
            known = best.get(finding.name)
            if known is None or finding.excess > known.excess:
                best[finding.name] = finding
    return tuple(ColumnDrift(f.name, f.statistic, f.threshold, f.drifted) for f in best.values())


def _moved(found: Sequence[Finding]) -> list[Finding]:
    return [f for f in found if f.drifted and f.kind not in ("quality", "segment", "schema")]


def _bad_slices(found: Sequence[Finding]) -> list[Finding]:
    slices = [f for f in found if f.drifted and f.kind == "segment"]
    return sorted(slices, key=lambda f: -f.statistic / f.threshold)


def _apart(past: Sequence[Look], at: datetime | None, reference: Reference, window: Window) -> list[Look]:
    """Of the earlier looks, newest first, those that share no labelled day with this one or with each other.

    What a look says of the very days that the last one judged confirms nothing.
    """
    if at is None or not reference.timed:
        return list(past)
    span = timedelta(days=max(1, int(window.loss_days.max() - window.loss_days.min())))
    taken: list[Look] = []
    for look in past:
        if look.at <= (taken[-1].at if taken else at) - span:
            taken.append(look)
    return taken


def _lost(found: Sequence[Finding]) -> list[Finding]:
    return [f for f in found if f.drifted and f.kind in ("quality", "segment")]


def _speak_of(window: Window, watch: Watch) -> bool:
    """Whether the labels speak of what is in the window, too.

    Where they are all older than a whole window, quality was measured before whatever moved since, and cannot excuse it.
    A window that is not full yet is a new champion's: it answered again what is just older.
    """
    return window.covered is None or window.covered >= watch.min_labelled or len(window.rows) < watch.window


def _lasts(judged: Judgement) -> bool:
    return judged.persistence is not None and judged.persistence.looks >= judged.persistence.needed


def _persistence(deciding: Sequence[Finding], past: Sequence[Look], watch: Watch) -> Persistence | None:
    """In how many looks the most lasting of the findings that decide was seen; what is certain needs this one alone."""
    if not deciding:
        return None
    looks = max(1 + sum(f.key in look.found for look in past[: watch.looks - 1]) for f in deciding)
    needed = 1 if any(f.certain for f in deciding) else min(watch.needed, watch.looks)
    return Persistence(looks, watch.looks, needed)


def _by_quality(judged: Judgement, quality: Quality, window: Window, absurd: int, *, older: bool = False) -> Judgement:
    """The verdict and its reason where labels decide; `older` if all of them are older than the window."""
    lately = quality.labelled < len(window.losses)  # then the newest stretch decides
    slices = _bad_slices(judged.findings)
    lost = _lasts(judged) and (is_lost(quality) or bool(slices))
    reason = _say_quality(quality, slices, _say_inputs(judged, absurd), older=older, lately=lately)
    return replace(
        judged, verdict="quality-loss" if lost else "ok", reason=reason + _say_rest(judged, _say_quiet(quality))
    )


def _by_inputs(
    judged: Judgement, reference: Reference, window: Window, columns: Sequence[Column], watch: Watch, absurd: int
) -> Judgement:
    """The verdict and its reason where what moved decides."""
    moved = _moved(judged.findings)
    same = monotonous(window, columns) if moved else None
    if same is not None:
        return replace(judged, verdict="invalid", reason=same, persistence=None)
    inputs = _say_inputs(judged, absurd)
    told = "; ".join(list(dict.fromkeys(f.said for f in moved))[:MOST_SAID])  # two comparisons may have seen the same
    why = f" ({_why_inputs(window, watch, judged.quality)})." + (f" {told[0].upper()}{told[1:]}." if moved else "")
    rate = _say_rate(judged) if moved else ""
    reason = f"{inputs[0].upper()}{inputs[1:]}{why}{_say_rest(judged, rate + _say_short(reference, len(window.rows)))}"
    return replace(judged, verdict="drift" if _lasts(judged) else "ok", reason=reason)


def _say_inputs(judged: Judgement, absurd: int) -> str:
    said = _say_moved(_moved(judged.findings))
    return said + (f"; losses left out, since they are not finite: {absurd}" if absurd else "")


def _say_rest(judged: Judgement, between: str = "") -> str:
    """The end of a reason: whether a finding waits for other looks, and what is odd about the columns."""
    waiting = "" if judged.persistence is None or _lasts(judged) else say_waiting(judged.persistence)
    return waiting + between + "".join(f" {f.said}" for f in judged.findings if f.kind == "schema")


def _say_moved(moved: Sequence[Finding]) -> str:
    inputs = list(dict.fromkeys(f.name for f in moved if f.kind in ("input", "missing", "categories")))
    rest = [
        {"prediction": "the model's answers", "target": "the labels"}[f.kind] for f in moved if f.name not in inputs
    ]
    said = f"inputs moved: {some(inputs)}" if inputs else "inputs are where they were"
    return said + (f"; {' and '.join(rest)} are distributed differently than at training" if rest else "")


def say_waiting(persistence: Persistence) -> str:
    """That a finding waits for other looks, as the end of a reason."""
    return f" Likely, but not certain: {persistence.looks} of the {persistence.needed} looks needed saw it."


def _say_rate(judged: Judgement) -> str:
    if judged.false_alarm_rate is None:
        return ""
    return f" False alarms of this rule on {judged.quiet_blocks} quiet blocks of the reference: {judged.false_alarm_rate:.1%}."


def _say_quiet(quality: Quality) -> str:
    if not quality.quiet_stretches:
        return ""
    return f" Quiet stretches of the reference that this rule calls lost: {quality.quiet_alarms} of {quality.quiet_stretches}."


def _say_quality(quality: Quality, worst: Sequence[Finding], inputs: str, *, older: bool, lately: bool) -> str:
    """The loss, and the slices that went bad: by themselves where the mean of all holds, beyond all others where it does not."""
    useless = f", and surely worse than the trivial baseline, {quality.baseline:.4g}" if quality.useless else ""
    bad = f"; but {'; '.join(f.said for f in worst[:MOST_SAID])}" if worst else ""
    if worst and is_lost(quality):
        bad = f"; most of all where {worst[0].name}, {worst[0].statistic:.2f} times"
    newest = "the newest " if lately else ""
    which = "labelled predictions, all older than this window" if older else "labelled predictions"
    return (
        f"Mean {quality.loss} {quality.window:.4g} on {newest}{quality.labelled:,} {which}, {quality.reference:.4g} was normal "
        f"({quality.ratio:.2f} times; chance allowed for, at least {quality.lower:.2f} times){useless}{bad}; {inputs}."
    )


def _why_inputs(window: Window, watch: Watch, quality: Quality | None) -> str:
    """Why quality does not decide."""
    if quality is not None:
        return (
            f"{window.covered} labels for these {len(window.rows):,} predictions, {watch.min_labelled} are needed for quality; "
            f"on {quality.labelled:,} older ones the loss was {quality.ratio:.2f} times the normal"
        )
    if len(window.losses) < watch.min_labelled:
        return f"{len(window.losses)} labels, {watch.min_labelled} are needed for quality"
    return f"{len(window.losses)} labels, but the version kept no losses to compare them with"


def _say_short(reference: Reference, n: int) -> str:
    if not reference.timed or len(reference.rows) >= 3 * n:
        return ""
    return f" The reference has only {len(reference.rows):,} rows, so the distances allowed are wide."
