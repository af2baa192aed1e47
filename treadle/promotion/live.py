"""What live traffic has shown of a version: the labels of rows that it answered as a shadow or to a canary's callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.ledger import Ledger, Releases
from treadle.promotion.release import look_at

if TYPE_CHECKING:
    from treadle.promotion.release import Quality

MANY = 50  # releases looked through


def live_quality(ledger: Ledger, name: str, version: int, champion: int | None) -> Quality | None:
    """What labels say of the version's newest release beside that champion; `None` without one, or with too few labels.

    A retrain without new rows makes the same model again under another number: what was seen of its twin holds for it.
    """
    book, twins = Releases(ledger), _twins(ledger, name, version)
    for release in book.last(name, MANY):
        if release.version in twins and release.champion == champion:
            return look_at(book.losses(release), release.rules)
    return None


def _twins(ledger: Ledger, name: str, version: int) -> set[int]:
    """The version, and those with its recipe, its data's end and its very figures."""
    mine = ledger.version(name, version)
    if mine is None:
        return set()
    made = (mine.family, mine.params, mine.metrics, mine.data_until)
    return {v.version for v in ledger.versions(name) if (v.family, v.params, v.metrics, v.data_until) == made}


def say_live(live: Quality) -> str:
    """The figures in one sentence.

    Args:
        live: What labels say of both.
    """
    found = "it is worse there" if live.worse else "it is not worse there" if live.not_worse else "neither is sure"
    return (
        f"On live traffic ({live.rows:,} labelled rows) its mean loss was {live.candidate:.4g} against {live.champion:.4g} "
        f"of the champion, lower in {live.probability:.0%} of the resamples: {found}."
    )
