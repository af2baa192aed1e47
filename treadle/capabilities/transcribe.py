"""`transcribe`: what is said in a recording, and when: Whisper (Radford et al., 2022) by faster-whisper, or a model of the hub.

Silence and music are cut out before, by Silero's voice detector, because Whisper invents words where nobody speaks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from treadle.capabilities import protocol
from treadle.capabilities.hub import open_pipeline
from treadle.capabilities.limits import BadInput, cores
from treadle.capabilities.sounds import RATE, Sound
from treadle.capabilities.sources import missing_guest

PIECE_S = 30
"""Seconds that Whisper hears at once; longer recordings are cut."""
Times = Literal["segment", "word"]


class Hearing(protocol.Parameters, frozen=True, kw_only=True):
    """How to listen.

    Attributes:
        language: ISO 639-1; null lets the model tell.
        timestamps: Whether chunks are sentences or so, or single words.
    """

    language: str | None = None
    timestamps: Times = "segment"


class Chunk(msgspec.Struct, frozen=True):
    """What is said from `start` to `end`, in seconds."""

    text: str
    start: float
    end: float


class Transcription(msgspec.Struct, frozen=True):
    """What is said, and when.

    Attributes:
        text: All of it.
        language: ISO 639-1; `null` where the model does not tell.
        seconds: Length of the recording.
        chunks: Its parts in order.
        score: Mean probability of the tokens, 0 to 1; `null` where nothing is said, or the model does not tell.
    """

    text: str
    language: str | None
    seconds: float
    chunks: list[Chunk]
    score: float | None


class Transcribe(protocol.Capability):
    """Recordings as text."""

    name = "transcribe"
    takes = "sound"
    Parameters = Hearing
    Answer = Transcription
    hub_task = "automatic-speech-recognition"

    def load(self, weights: protocol.Weights) -> None:
        """Open the model."""
        self._listener: _Listener = (
            _FasterWhisper(weights) if weights.entry.runtime == "ctranslate2" else _Pipeline(weights)
        )

    def run(self, inputs: Sequence[Sound], parameters: Hearing) -> list[Transcription]:
        """Write recordings down, one after the other."""
        return [self._listener.hear(sound, parameters) for sound in inputs]

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`automatic_speech_recognition(audio, extra_body=…)`: Transformers' names become ours."""
        ours = {k: v for k, v in parameters.items() if k not in ("return_timestamps", "generation_parameters")}
        if parameters.get("return_timestamps") == "word":
            ours["timestamps"] = "word"
        return super().from_hub(inputs, ours)

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - a request has one recording
        """Text, and chunks with their times."""
        chunks = [{"text": one["text"], "timestamp": [one["start"], one["end"]]} for one in answers[0]["chunks"]]
        return {"text": answers[0]["text"], "chunks": chunks}


class _Listener(ABC):
    """A model that hears."""

    @abstractmethod
    def hear(self, sound: Sound, parameters: Hearing) -> Transcription:
        """Write one recording down.

        Raises:
            BadInput: A parameter asks for what the model cannot.
        """


class _FasterWhisper(_Listener):
    """Whisper, converted for CTranslate2, in int8."""

    def __init__(self, weights: protocol.Weights) -> None:
        try:
            import ctranslate2
            from faster_whisper import WhisperModel
        except ImportError:
            raise missing_guest("faster-whisper", "speech") from None
        self._seed = ctranslate2.set_random_seed
        self._model = WhisperModel(
            str(weights.folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=cores(),
            local_files_only=True,
        )

    def hear(self, sound: Sound, parameters: Hearing) -> Transcription:
        """Write one recording down; what a second try draws by chance is drawn the same each time."""
        known = self._model.supported_languages
        if parameters.language not in (None, *known):
            raise BadInput(f"parameters.language: the model knows {', '.join(known)}.")
        self._seed(0)
        words = parameters.timestamps == "word"
        found, about = self._model.transcribe(
            sound.samples, language=parameters.language, vad_filter=True, word_timestamps=words
        )
        segments = list(found)
        parts = [
            Chunk(text.strip(), round(float(start), 2), round(min(float(end), sound.seconds), 2))
            for text, start, end in (
                [(w.word, w.start, w.end) for s in segments for w in s.words or ()]
                if words
                else [(s.text, s.start, s.end) for s in segments]
            )
        ]
        sure = [(math.exp(s.avg_logprob), len(s.tokens)) for s in segments]
        tokens = sum(count for _, count in sure)
        score = min(1.0, sum(p * count for p, count in sure) / tokens) if tokens else None
        text = "".join(s.text for s in segments).strip()
        return Transcription(text, about.language, round(sound.seconds, 2), parts, score)


class _Pipeline(_Listener):
    """A model of the hub: Whisper, or one that spells letter by letter (CTC), such as Wav2Vec2."""

    def __init__(self, weights: protocol.Weights) -> None:
        self._pipe = open_pipeline("automatic-speech-recognition", weights)
        self._writes = self._pipe.model.can_generate()
        generation = getattr(self._pipe.model, "generation_config", None)
        self._tells_language = bool(getattr(generation, "is_multilingual", False))

    def hear(self, sound: Sound, parameters: Hearing) -> Transcription:
        """Write one recording down."""
        if parameters.language is not None and not self._tells_language:
            raise BadInput("parameters.language: this model has one language and cannot be told another.")
        said = self._pipe({"raw": sound.samples, "sampling_rate": RATE}, **self._options(parameters))
        chunks = [_chunk(one, sound.seconds) for one in said.get("chunks", ())]
        return Transcription(said["text"].strip(), parameters.language, round(sound.seconds, 2), chunks, None)

    def _options(self, parameters: Hearing) -> dict[str, Any]:
        word = parameters.timestamps == "word"
        if not self._writes:  # what spells has words and letters only
            return {"return_timestamps": "word", "chunk_length_s": PIECE_S}
        told = {"language": parameters.language} if parameters.language else {}
        return {"return_timestamps": "word" if word else True, "generate_kwargs": told}


def _chunk(said: Mapping[str, Any], seconds: float) -> Chunk:
    """Transformers' chunk, inside the recording; one that was cut off by the end has no time of its own there."""
    start, end = said["timestamp"]
    begun = min(float(start or 0.0), seconds)
    ended = seconds if end is None else min(float(end), seconds)
    return Chunk(said["text"].strip(), round(begun, 2), round(max(begun, ended), 2))
