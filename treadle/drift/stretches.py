"""A window that covers months: its stretches are looks of their own, for which a slow stream would have to wait as long."""

from __future__ import annotations

from treadle.drift.quality import LARGE, Null, compare_losses, is_lost
from treadle.drift.records import Quality, Reference, Window

STRETCH_DAYS = 28  # of a stretch at least: weeks that resemble each other do not confirm each other
NEWEST = (2, 4)  # a change that began lately is looked for in the newest half and the newest quarter


def settle_loss(
    quality: Quality, reference: Reference, window: Window, seed: int, least: int
) -> tuple[Quality, bool]:  # fmt: skip
    """The loss that decides, and whether one look is enough to believe it.

    Enough is a model that is useless, or a large loss. Of a window of eight weeks or more also a smaller one that each of its
    halves shows by itself, as two looks would that share no labelled day. And a large loss of its newest half or
    quarter, of four weeks or more, that is as large in either half of that stretch: the rest of the window would hide
    for months what began lately. Then the stretch's loss decides.

    Args:
        quality: The whole window's.
        reference: What was normal.
        window: What was compared with it.
        seed: Of the bootstrap.
        least: Labelled rows that a stretch must have.
    """
    if is_lost(quality) and (quality.useless or quality.ratio >= LARGE):
        return quality, True
    if not reference.timed:
        return quality, False
    if is_lost(quality) and all(
        _is_long(half, least) and is_lost(_compared(reference, half, seed)) for half in _halves(window)
    ):
        return quality, True
    for stretch in (_newest(window, share) for share in NEWEST):
        large = all(half.losses.mean() >= LARGE * reference.losses.mean() for half in _halves(stretch))
        if large and _is_long(stretch, least) and is_lost(found := _compared(reference, stretch, seed)):
            return found, True
    return quality, False


def _compared(reference: Reference, stretch: Window, seed: int) -> Quality:
    return compare_losses(reference, stretch, Null(reference, stretch, seed), seed)


def _is_long(stretch: Window, least: int) -> bool:
    days = stretch.loss_days
    return len(days) >= least and bool(days.max() - days.min() >= STRETCH_DAYS - 1)


def _halves(window: Window) -> tuple[Window, ...]:
    """The earlier and the later half of its days; only the one, where that is all."""
    days = window.loss_days
    early = days <= (days.min() + days.max()) / 2
    return tuple(window.judged_by(half) for half in (early, ~early) if half.any())


def _newest(window: Window, share: int) -> Window:
    """The newest of so many equal stretches of its days."""
    days = window.loss_days
    return window.judged_by(days > days.max() - (days.max() - days.min() + 1) / share)
