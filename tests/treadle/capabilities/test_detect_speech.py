"""Speech is found where it is, and nowhere else."""

import io

import msgspec
import numpy as np
import pytest
import soundfile

from treadle.capabilities.detect_speech import Listening, Speech, find_stretches
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sounds import RATE
from treadle.settings import CHECKOUT

SOUNDS = CHECKOUT / "tests" / "sounds"


def as_file(samples):
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format="FLAC")
    return out.getvalue()


def noise(seconds, level, seed=0):
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def test_two_sentences_in_noise_are_two_stretches(make_pool):
    first, second = (soundfile.read(SOUNDS / f"austen-{name}.flac")[0] for name in ("0880", "0930"))
    scene = np.concatenate([noise(2, 0), first, noise(2, 0), second, noise(2, 0)])
    scene += noise(len(scene) / RATE, 0.003)[: len(scene)]
    pool = make_pool()
    _, future = pool.ask("detect-speech", [as_file(scene), as_file(noise(3, 0.1, seed=1))], {})
    found, none = msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Speech])
    assert [(one.start, one.end) for one in found.speech] == [
        pytest.approx((2.25, 4.85), abs=0.3),
        pytest.approx((7.25, 10.05), abs=0.3),
    ]
    assert found.speech_s == pytest.approx(5.4, abs=0.6)
    assert all(one.score > 0.8 for one in found.speech)
    assert (none.speech, none.speech_s, none.seconds) == ([], 0, 3.0)
    with pytest.raises(BadInput, match="threshold"):
        pool.ask("detect-speech", [as_file(noise(1, 0.1))], {"threshold": 1.5})


def test_short_pauses_do_not_end_a_stretch_and_short_ones_are_left_out():
    chances = np.array([0.9] * 20 + [0.0] * 5 + [0.9] * 20 + [0.0] * 20 + [0.9] * 3 + [0.0] * 20)
    assert find_stretches(chances, Listening()) == [(0, 45)]
    assert find_stretches(chances, Listening(min_silence_s=0.064)) == [(0, 20), (25, 45)]
    assert find_stretches(chances, Listening(min_speech_s=0)) == [(0, 45), (65, 68)]
    assert find_stretches(np.full(10, 0.9), Listening()) == [(0, 10)]
    assert find_stretches(np.zeros(0), Listening()) == []


def test_between_the_thresholds_speech_goes_on_but_does_not_begin():
    between = np.full(20, 0.4)
    assert find_stretches(np.concatenate([between, np.full(20, 0.9), between]), Listening()) == [(20, 60)]
