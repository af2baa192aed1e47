"""`analyze-video`: what is in a video and when: frames are sampled, things and faces found in them and followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box
from treadle.capabilities.face_model import find_faces
from treadle.capabilities.overlaps import box_within
from treadle.capabilities.pictures import Picture
from treadle.capabilities.tracks import Seen, Track, Tracker
from treadle.capabilities.videos import sample_frames
from treadle.capabilities.yolox import Yolox
from treadle.capabilities.yunet import Yunet

PATIENCE = 3
"""Frames in which a thing may be hidden and is still the same."""
FACE = "face"


class Watching(protocol.Parameters, frozen=True, kw_only=True):
    """How a video is looked at.

    Attributes:
        every_s: Seconds between frames that are looked at.
        most_frames: A video that would need more is refused.
        min_score: Things and faces that are less sure are left out.
        faces: Whether faces are looked for too.
    """

    every_s: Annotated[float, msgspec.Meta(ge=0.04, le=600)] = 1.0
    most_frames: Annotated[int, msgspec.Meta(ge=1, le=36_000)] = 600
    min_score: Annotated[float, msgspec.Meta(ge=0.05, le=1)] = 0.5
    faces: bool = True


class Moment(msgspec.Struct, frozen=True):
    """Where a thing was at one moment, seconds into the video."""

    at: float
    score: float
    box: Box


class Followed(msgspec.Struct, frozen=True):
    """One thing, from when to when it was seen, in seconds, how sure it was at best, and where."""

    label: str
    number: int
    first: float
    last: float
    score: float
    moments: list[Moment]


class Timeline(msgspec.Struct, frozen=True):
    """How long the part is that was looked at, in how many frames, and what was seen in the order of coming."""

    seconds: float
    frames: int
    tracks: list[Followed]


class Watched(msgspec.Struct, frozen=True):
    """How far it is, and the same in words; the last piece has the timeline."""

    text: str
    at: float
    frames: int
    timeline: Timeline | None = None


class AnalyzeVideo(protocol.Capability):
    """What is in a video, and when."""

    name = "analyze-video"
    takes = "video"
    Parameters = Watching
    Answer = Timeline
    Piece = Watched
    hub_runtime = "onnxruntime"

    def load(self, weights: protocol.Weights) -> None:
        """Open the detectors of things and of faces."""
        things, names, faces = weights.entry.source.files
        self._things = Yolox(weights.folder, (things, names))
        self._faces = Yunet(weights.folder / faces)
        self._limits = weights.limits

    def run(self, inputs: Sequence[bytes], parameters: Watching) -> list[Timeline]:
        """Watch each video."""
        return [
            piece.timeline
            for content in inputs
            for piece in self.stream(content, parameters)
            if piece.timeline is not None
        ]

    def stream(self, given: bytes, parameters: Watching) -> Iterator[Watched]:
        """Watch a video, and tell after each frame how far it is."""
        tracker = Tracker(PATIENCE * parameters.every_s)
        frames, at = 0, 0.0
        for frame in sample_frames(given, self._limits, parameters.every_s, parameters.most_frames):
            tracker.add(frame.at, self._look(frame.picture, parameters))
            frames, at = frames + 1, frame.at
            yield Watched(f"{at:.1f} s\n", round(at, 3), frames)
        timeline = Timeline(round(at, 3), frames, _followed(tracker.tracks))
        yield Watched(_said(timeline), round(at, 3), frames, timeline)

    def _look(self, picture: Picture, parameters: Watching) -> list[Seen]:
        found = self._things.detect(picture, parameters.min_score)
        seen = [
            Seen(self._things.names[label], float(score), box_within(corners, picture.width, picture.height))
            for corners, score, label in zip(found.corners, found.scores, found.labels, strict=True)
        ]
        if parameters.faces:
            faces = find_faces(self._faces, picture, max(parameters.min_score, 0.1), max(picture.width, picture.height))
            seen += [Seen(FACE, face.score, face.box) for face in faces]
        return seen

    def confidence(self, answer: Timeline) -> float | None:
        """The mean of what was followed."""
        return sum(one.score for one in answer.tracks) / len(answer.tracks) if answer.tracks else None


def _said(timeline: Timeline) -> str:
    """The timeline in words, a line a track."""
    return "".join(
        f"{one.first:.1f} to {one.last:.1f} s  {one.label} {one.number}  {one.score:.2f}\n" for one in timeline.tracks
    )


def _followed(tracks: list[Track]) -> list[Followed]:
    """Tracks in the order of coming; the number tells those of one kind apart."""
    counts: dict[str, int] = {}
    followed = []
    for track in sorted(tracks, key=lambda track: track.seen[0][0]):
        counts[track.label] = counts.get(track.label, 0) + 1
        moments = [Moment(round(at, 3), one.score, one.box) for at, one in track.seen]
        best = max(moment.score for moment in moments)
        followed.append(Followed(track.label, counts[track.label], moments[0].at, moments[-1].at, best, moments))
    return followed
