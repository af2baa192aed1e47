"""How good and how fast the ready models for speech are, on real recordings: `python -m benchmarks.ready_speech`.

One function a capability, each gives rows of a Markdown table; the figures stand in `catalog.yaml` and in docs/ready-figures.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from treadle.capabilities import load_capability, protocol
from treadle.capabilities.limits import Limits
from treadle.capabilities.sounds import RATE, Sound, read_sound
from treadle.capabilities.sources import pick, verify
from treadle.settings import CHECKOUT, Settings

SOUNDS = CHECKOUT / "tests" / "sounds"
ON = "5 LibriVox sentences, 71 words, 24.7 s"
WRITTEN = {"mr": "mister"}
PAUSE_S = 2.0
Row = tuple[str, str, str, float, str]
"""Capability, model, metric, value, what it was measured on."""


def read_sentences() -> list[tuple[Sound, str]]:
    """The recordings, and what is said in them."""
    lines = (SOUNDS / "transcripts.tsv").read_text(encoding="utf-8").splitlines()
    named = [line.split("\t") for line in lines]
    return [(read_sound((SOUNDS / name).read_bytes(), Limits()), words) for name, words in named]


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Words inserted, left out and put for others, as a share of the words that were said.

    Source: Levenshtein's distance, by words.

    >>> word_error_rate("a b c d".split(), "a x c".split())
    0.5
    """
    row = np.arange(len(heard) + 1)
    for place, word in enumerate(said, 1):
        changed = row[:-1] + np.array([word != other for other in heard], dtype=int)
        fresh = np.concatenate([[place], np.minimum(row[1:] + 1, changed)])
        row = np.minimum.accumulate(fresh - np.arange(len(fresh))) + np.arange(len(fresh))  # what was inserted
    return float(row[-1]) / len(said)


def as_words(text: str) -> list[str]:
    """Words as they are spoken: no case, no signs, no abbreviations.

    >>> as_words("Mr. Dashwood: ill-disposed.")
    ['mister', 'dashwood', 'ill', 'disposed']
    """
    return [WRITTEN.get(word, word) for word in re.findall(r"[a-z']+", text.lower().replace("-", " "))]


def open_capability(name: str) -> tuple[Any, str]:
    """The capability with its default model, in this process, and the model's name."""
    settings = Settings(home=CHECKOUT)
    entry, folder = pick(name, None, settings)
    verify(entry, folder)
    capability = load_capability(name)
    capability.load(protocol.Weights(entry, folder, Path(), Limits.of(settings)))
    return capability, entry.model


def transcribe() -> list[Row]:
    """Word error rate, clean and in noise, in int8 and in float32; and speed."""
    capability, model = open_capability("transcribe")
    sentences = read_sentences()
    rows: list[Row] = []

    def measure(metric: str, sounds: Sequence[Sound]) -> None:
        heard = [answer.text for answer in capability.run(sounds, capability.parse({}))]
        rows.append(("transcribe", model, metric, _rate(sentences, heard), ON))

    sounds = [sound for sound, _ in sentences]
    begun = time.perf_counter()
    measure("word error rate", sounds)
    speed = sum(sound.seconds for sound in sounds) / (time.perf_counter() - begun)
    rows.append(("transcribe", model, "seconds of sound a second", speed, "sentences one after the other"))
    measure("word error rate, 10 dB of white noise", [in_noise(sound, 10.0) for sound in sounds])
    whole = Sound(np.concatenate([sound.samples for sound in sounds * 4]))
    begun = time.perf_counter()
    capability.run([whole], capability.parse({}))
    speed = whole.seconds / (time.perf_counter() - begun)
    rows.append(("transcribe", model, "seconds of sound a second", speed, f"one recording of {whole.seconds:.0f} s"))
    heard, speed = _in_float32(sounds)
    rows.append(("transcribe", model, "word error rate in float32", _rate(sentences, heard), ON))
    rows.append(("transcribe", model, "seconds of sound a second in float32", speed, "sentences one after the other"))
    return rows


def _in_float32(sounds: Sequence[Sound]) -> tuple[list[str], float]:
    """What the same weights hear when they are not rounded to int8, and how quickly."""
    from faster_whisper import WhisperModel

    _, folder = pick("transcribe", None, Settings(home=CHECKOUT))
    model = WhisperModel(str(folder), device="cpu", compute_type="float32", local_files_only=True)
    begun = time.perf_counter()
    heard = ["".join(s.text for s in model.transcribe(sound.samples, vad_filter=True)[0]) for sound in sounds]
    return heard, sum(sound.seconds for sound in sounds) / (time.perf_counter() - begun)


def _rate(sentences: Sequence[tuple[Sound, str]], heard: Sequence[str]) -> float:
    """Word error rate over all sentences together."""
    said = [words.split() for _, words in sentences]
    wrong = sum(word_error_rate(s, as_words(text)) * len(s) for s, text in zip(said, heard, strict=True))
    return wrong / sum(map(len, said))


def detect_speech() -> list[Row]:
    """Windows of 10 ms judged right in sentences with pauses between them; speech found where there is none."""
    capability, model = open_capability("detect-speech")
    scene, truth = make_scene([sound for sound, _ in read_sentences()])
    rows: list[Row] = []
    for level in (20.0, 5.0):
        (answer,) = capability.run([in_noise(scene, level)], capability.parse({}))
        found = np.zeros(len(truth), dtype=bool)
        for one in answer.speech:
            found[round(one.start * 100) : round(one.end * 100)] = True
        on = f"the sentences with pauses of {PAUSE_S:g} s, {level:g} dB of white noise"
        rows.append(("detect-speech", model, "share of speech found", float(found[truth].mean()), on))
        rows.append(("detect-speech", model, "share of pauses called speech", float(found[~truth].mean()), on))
    begun = time.perf_counter()
    capability.run([scene], capability.parse({}))
    rows.append(
        ("detect-speech", model, "seconds of sound a second", scene.seconds / (time.perf_counter() - begun), ON)
    )
    return rows


def make_scene(sounds: Sequence[Sound]) -> tuple[Sound, np.ndarray]:
    """Sentences with pauses around them, and whether somebody speaks, by 10 ms.

    A sentence begins and ends where it is within 30 dB of its loudest; what is softer between is a pause inside it when it is
    shorter than the detector's own `min_silence_s`, 0.3 s.
    """
    pause = np.zeros(int(PAUSE_S * RATE), np.float32)
    samples = np.concatenate([pause, *(part for sound in sounds for part in (sound.samples, pause))])
    step, reach = RATE // 100, 30
    levels = np.sqrt(np.square(samples[: len(samples) // step * step].reshape(-1, step)).mean(axis=1))
    loud = levels > levels.max() / 10 ** (30 / 20)
    places = range(len(loud))
    truth = np.array([loud[max(0, at - reach) : at + 1].any() and loud[at : at + reach].any() for at in places])
    return Sound(samples), truth


def in_noise(sound: Sound, decibels: float) -> Sound:
    """A sound with white noise, so many decibels below it."""
    level = float(np.sqrt(np.mean(np.square(sound.samples)))) / 10 ** (decibels / 20)
    noise = np.random.default_rng(0).standard_normal(len(sound.samples)) * level
    return Sound((sound.samples + noise).astype(np.float32))


CAPABILITIES: tuple[Callable[[], list[Row]], ...] = (transcribe, detect_speech)


def main() -> None:
    """Print the table."""
    print("| capability | model | metric | value | on |\n|---|---|---|---|---|")
    for measure in CAPABILITIES:
        for name, model, metric, value, on in measure():
            print(f"| `{name}` | {model} | {metric} | {value:.3g} | {on} |", flush=True)


if __name__ == "__main__":
    main()
