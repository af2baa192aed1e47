"""Sounds: looked at before they are decoded, then as mono samples at one rate. Runs where it can be killed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.sources import missing_guest

if TYPE_CHECKING:
    from soundfile import SoundFile

RATE = 16_000
"""Samples a second that all speech models here want."""
MOST_CHANNELS = 8
CHUNK = 1 << 18


@dataclass(frozen=True)
class Sound:
    """A decoded sound.

    Attributes:
        samples: float32 (n,), mono, -1 to 1, `RATE` a second.
    """

    samples: np.ndarray

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / RATE

    def facts(self) -> dict[str, float]:
        """What is kept of it: its length, and its level (root mean square, 0 to 1)."""
        level = float(np.sqrt(np.mean(np.square(self.samples)))) if len(self.samples) else 0.0
        return {"seconds": round(self.seconds, 2), "level": round(level, 4)}


def read_sound(content: bytes, limits: Limits) -> Sound:
    """Decode a sound: WAV, FLAC, Ogg, MP3 or AIFF.

    What its header claims is not believed: a WAV that promises more than it has is refused, and what claims to be too long
    is not begun.

    Raises:
        BadInput: It is none, empty, or shorter than its header says.
        TooMuch: It is longer than it may be.
    """
    try:
        import soundfile
    except ImportError:
        raise missing_guest("soundfile", "speech") from None
    limits.check_upload(content)
    _check_wave(content)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as opened:
            rate, channels = opened.samplerate, opened.channels
            if not 4_000 <= rate <= 192_000 or not 1 <= channels <= MOST_CHANNELS:
                raise BadInput(f"A sound with {channels} channels at {rate} samples a second is not read.")
            claimed = opened.frames
            if claimed > limits.sound_s * rate:
                raise TooMuch(
                    f"The sound is {claimed / rate:,.0f} s long; at most {limits.sound_s:,.0f} s are decoded."
                )
            pieces = list(_pieces(opened))
    except (soundfile.LibsndfileError, RuntimeError, ValueError):
        raise BadInput("This is no sound that can be read; WAV, FLAC, Ogg, MP3 and AIFF are.") from None
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not len(samples) or not np.isfinite(samples).all():
        raise BadInput("There is no sound in this file.")
    return Sound(resample(samples, rate))


def _check_wave(content: bytes) -> None:
    """Refuse a WAV whose header promises more than there is: no honest program wrote it, or it was cut off.

    Raises:
        BadInput: It does.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return
    place = 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if place + 8 + size > len(content):
            raise BadInput("The WAV's header says that it is longer than the file is.")
        if name == b"data":
            return
        place += 8 + size + size % 2  # chunks are padded to even lengths
    raise BadInput("The WAV has no sound in it.")


def _pieces(opened: SoundFile) -> Iterator[np.ndarray]:
    while len(piece := opened.read(CHUNK, dtype="float32", always_2d=True)):
        yield piece.mean(axis=1)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (n,) at `RATE` a second, by linear interpolation after a moving average against aliasing."""
    if rate == RATE:
        return samples.astype(np.float32)
    if rate > RATE:
        width = round(rate / RATE)
        samples = np.convolve(samples, np.full(width, 1 / width, np.float32), mode="same") if width > 1 else samples
    count = int(len(samples) * RATE / rate)
    places = np.arange(count) * (rate / RATE)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
