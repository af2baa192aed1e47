"""Things followed from frame to frame of a video by how much their rectangles overlap.

Bewley and others, Simple Online and Realtime Tracking (2016), https://arxiv.org/abs/1602.00763, without its Kalman filter: frames are
sampled too far apart for one. Pairs are chosen by the Hungarian method, as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from treadle.capabilities.boxes import Box
from treadle.capabilities.overlaps import overlaps

LEAST_OVERLAP = 0.3
"""Rectangles of two frames that overlap less are not one thing, as in SORT."""


@dataclass(frozen=True)
class Seen:
    """A thing in one frame."""

    label: str
    score: float
    box: Box


@dataclass
class Track:
    """One thing through the video.

    Attributes:
        label: What it is.
        seen: When, in seconds, and how.
    """

    label: str
    seen: list[tuple[float, Seen]] = field(default_factory=list)


class Tracker:
    """Follows things; a frame after the other.

    Args:
        patience_s: A thing that was not seen for so long has left; when something like it comes, it is another.
    """

    def __init__(self, patience_s: float) -> None:
        self.tracks: list[Track] = []
        self._patience_s = patience_s

    def add(self, at: float, things: list[Seen]) -> None:
        """Follow the things of one frame, at so many seconds."""
        for label in sorted({thing.label for thing in things}):
            self._follow(at, label, [thing for thing in things if thing.label == label])

    def _follow(self, at: float, label: str, things: list[Seen]) -> None:
        from scipy.optimize import linear_sum_assignment

        here = [t for t in self.tracks if t.label == label and at - t.seen[-1][0] <= self._patience_s]
        fits = overlaps(_corners([t.seen[-1][1] for t in here]), _corners(things))
        known, new = linear_sum_assignment(-fits)
        matched = {int(j): here[i] for i, j in zip(known, new, strict=True) if fits[i, j] >= LEAST_OVERLAP}
        for number, thing in enumerate(things):
            track = matched.get(number)
            if track is None:
                track = Track(label)
                self.tracks.append(track)
            track.seen.append((at, thing))


def _corners(things: list[Seen]) -> np.ndarray:
    rows = [(one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax) for one in things]
    return np.array(rows, float).reshape(-1, 4)
