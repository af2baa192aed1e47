"""Frames of a video, sampled; looked at before it is decoded. Runs where it can be killed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.pictures import Picture
from treadle.capabilities.sources import missing_guest

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "ogg")
"""Containers that are read; those that name other files or addresses, such as playlists, are not."""


@dataclass(frozen=True)
class Frame:
    """One frame, how many seconds into the video."""

    at: float
    picture: Picture


def sample_frames(content: bytes, limits: Limits, every_s: float, most: int) -> Iterator[Frame]:
    """Frames of a video, so many seconds apart.

    Args:
        content: The file.
        limits: Of the request.
        every_s: Seconds between frames that are taken.
        most: Frames that may be taken.

    Raises:
        BadInput: It is no video that can be read.
        TooMuch: Its frames have too many pixels, or there are more of them than may be taken.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise missing_guest("av", "vision") from None
    taken, due = 0, 0.0
    try:
        with av.open(io.BytesIO(content), mode="r", metadata_errors="ignore") as opened:
            if not set(opened.format.name.split(",")) & set(FORMATS) or not opened.streams.video:
                raise BadInput(f"This is no video that can be read; {', '.join(FORMATS)} are.")
            stream = opened.streams.video[0]
            if stream.width * stream.height > limits.pixels:
                raise TooMuch(
                    f"Its frames have {stream.width * stream.height:,} pixels; at most {limits.pixels:,} are decoded."
                )
            for number, frame in enumerate(opened.decode(stream)):
                at = float(frame.time) if frame.time is not None else number / float(stream.average_rate or 25)
                if at < due:
                    continue
                if taken == most:
                    raise TooMuch(f"More than {most} frames would be looked at; a larger every_s takes fewer.")
                taken, due = taken + 1, at + every_s
                yield Frame(at, Picture(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), opened.format.name))
    except (FFmpegError, ValueError, OSError):
        raise BadInput("This is no video that can be read, or it is cut off.") from None
    if not taken:
        raise BadInput("The video has no frame.")
