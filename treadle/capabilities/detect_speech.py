"""`detect-speech`: when somebody speaks in a recording, by Silero's voice activity detector (Silero Team, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.sounds import RATE, Sound
from treadle.capabilities.sources import missing_guest

WINDOW = 512
"""Samples that the model judges at once: 32 ms."""
HYSTERESIS = 0.15
"""Speech ends when the probability falls by so much below what began it, as Silero has it."""


class Listening(protocol.Parameters, frozen=True, kw_only=True):
    """What counts as speech.

    Attributes:
        threshold: Probability from which a window is speech.
        min_speech_s: Shorter stretches are left out.
        min_silence_s: Shorter pauses do not end a stretch.
        pad_s: What is added before and after each.
    """

    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    min_speech_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.25
    min_silence_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.3
    pad_s: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.03


class Stretch(msgspec.Struct, frozen=True):
    """Somebody speaks from `start` to `end`, in seconds; `score` is the mean probability of its windows."""

    start: float
    end: float
    score: float


class Speech(msgspec.Struct, frozen=True):
    """When somebody speaks.

    Attributes:
        speech: Stretches in order.
        speech_s: Seconds of them together.
        seconds: Length of the recording.
        score: How clear the model's judgement is: mean over the windows of the likelier side's probability, 0.5 to 1.
    """

    speech: list[Stretch]
    speech_s: float
    seconds: float
    score: float


class DetectSpeech(protocol.Capability):
    """Stretches of speech in recordings."""

    name = "detect-speech"
    takes = "sound"
    Parameters = Listening
    Answer = Speech

    def load(self, weights: protocol.Weights) -> None:
        """Open the model."""
        try:
            from faster_whisper.vad import SileroVADModel
        except ImportError:
            raise missing_guest("faster-whisper", "speech") from None
        self._judge = SileroVADModel(str(weights.folder / weights.entry.source.files[0]))

    def run(self, inputs: Sequence[Sound], parameters: Listening) -> list[Speech]:
        """Find speech in each recording."""
        return [self._one(sound, parameters) for sound in inputs]

    def _one(self, sound: Sound, parameters: Listening) -> Speech:
        padded = np.pad(sound.samples, (0, -len(sound.samples) % WINDOW))
        chances = np.asarray(self._judge(padded), dtype=float).ravel()  # (windows,)
        stretches = [
            Stretch(*_padded(begin, end, sound.seconds, parameters.pad_s), float(chances[begin:end].mean()))
            for begin, end in find_stretches(chances, parameters)
        ]
        clear = float(np.maximum(chances, 1 - chances).mean())
        total = sum(stretch.end - stretch.start for stretch in stretches)
        return Speech(stretches, round(total, 2), round(sound.seconds, 2), clear)


def find_stretches(chances: np.ndarray, parameters: Listening) -> list[tuple[int, int]]:
    """Stretches of speech, as first window and the one after the last.

    Args:
        chances: Probability of speech by window, shape (windows,).
        parameters: What counts.

    >>> find_stretches(np.array([0.1, 0.9, 0.4, 0.9, 0.1, 0.1]), Listening(min_speech_s=0, min_silence_s=0.064))
    [(1, 4)]
    """
    shortest, pause = (round(s * RATE / WINDOW) for s in (parameters.min_speech_s, parameters.min_silence_s))
    ends_below = max(parameters.threshold - HYSTERESIS, 0.01)
    found, begin, quiet = [], None, 0
    for place, chance in enumerate([*chances, *[0.0] * (pause + 1)]):
        if begin is None:
            if chance >= parameters.threshold:
                begin, quiet = place, 0
            continue
        quiet = quiet + 1 if chance < ends_below else 0
        if quiet > pause or (quiet and not pause):
            end = place + 1 - quiet
            if end - begin >= shortest:
                found.append((begin, end))
            begin = None
    return found


def _padded(begin: int, end: int, seconds: float, pad_s: float) -> tuple[float, float]:
    start, stop = begin * WINDOW / RATE - pad_s, end * WINDOW / RATE + pad_s
    return round(max(0.0, start), 2), round(min(seconds, stop), 2)
