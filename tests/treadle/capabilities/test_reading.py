"""Uploads are bombs until proved otherwise; what is fine is read as it is."""

import io
import struct
import wave

import numpy as np
import pytest
from PIL import Image

from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.pictures import read_picture
from treadle.capabilities.reading import check_inputs, facts
from treadle.capabilities.sounds import RATE, read_sound

LIMITS = Limits()


def png(image, **options):
    out = io.BytesIO()
    image.save(out, options.pop("form", "PNG"), **options)
    return out.getvalue()


def test_a_picture_is_upright_and_on_white():
    turned = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(png(turned, form="JPEG", exif=exif), LIMITS).pixels.shape == (40, 20, 3)
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert read_picture(png(clear), LIMITS).pixels.min() == 255
    for mode in ("1", "L", "P", "CMYK", "I;16", "LA"):
        form = "TIFF" if mode == "CMYK" else "PNG"
        assert read_picture(png(Image.new(mode, (9, 7)), form=form), LIMITS).pixels.shape == (7, 9, 3), mode


def test_a_small_file_of_many_pixels_is_not_decoded(monkeypatch):
    bomb = png(Image.new("1", (12_000, 12_000)))
    assert len(bomb) < 20_000
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(TooMuch, match="144,000,000 pixels"):
        read_picture(bomb, LIMITS)


def test_an_animation_of_ten_thousand_frames_is_refused():
    frames = [Image.new("P", (2, 2), number % 2) for number in range(10_000)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], optimize=False, disposal=2)
    with pytest.raises(TooMuch, match="256 frames"):
        read_picture(out.getvalue(), LIMITS)
    few = io.BytesIO()
    frames[0].save(few, "GIF", save_all=True, append_images=frames[1:5], disposal=2)
    assert read_picture(few.getvalue(), LIMITS).pixels.shape == (2, 2, 3)


NO_PICTURES = {
    "empty": b"",
    "text": b"hello",
    "a head alone": b"\x89PNG\r\n\x1a\n",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "SVG": b"<svg xmlns='x'/>",
    "GIF of nonsense": b"GIF89a" + b"\xff" * 40,
}


@pytest.mark.parametrize("content", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused(content):
    with pytest.raises((BadInput, TooMuch)):
        read_picture(content, LIMITS)


def test_every_cut_of_a_picture_is_refused_or_read():
    whole = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)))
    for end in range(0, len(whole), 97):
        try:
            read_picture(whole[:end], LIMITS)
        except (BadInput, TooMuch):
            continue


def sound(seconds=1.0, rate=RATE, channels=1):
    tone = 0.5 * np.sin(np.arange(int(seconds * rate)) * 440 * 2 * np.pi / rate)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((tone * 32767).astype("<i2"), channels).tobytes())
    return out.getvalue()


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 2), (48_000, 1)])
def test_a_sound_becomes_mono_at_one_rate(rate, channels):
    read = read_sound(sound(0.5, rate, channels), LIMITS)
    assert read.samples.dtype == np.float32
    assert read.seconds == pytest.approx(0.5, abs=0.01)
    loudest = np.fft.rfftfreq(len(read.samples), 1 / RATE)[np.abs(np.fft.rfft(read.samples)).argmax()]
    assert loudest == pytest.approx(440, abs=5)
    assert facts(read)["level"] == pytest.approx(0.35, abs=0.03)


def test_a_lying_header_is_not_believed():
    for size in (0x7FFFFFF0, 0xFFFFFFFF, 3204):
        lying = bytearray(sound(0.1))
        lying[40:44] = struct.pack("<I", size)
        with pytest.raises(BadInput, match="longer than the file"):
            read_sound(bytes(lying), LIMITS)
    zero = bytearray(sound(0.1))
    zero[24:28] = struct.pack("<I", 0)
    with pytest.raises(BadInput):
        read_sound(bytes(zero), LIMITS)


def test_a_long_sound_is_not_decoded():
    with pytest.raises(TooMuch, match="at most 1 s"):
        read_sound(sound(1.5), Limits(sound_s=1.0))


@pytest.mark.parametrize("content", [b"RIFF", b"ID3" + b"\0" * 100, b"fLaC" + b"\xff" * 50, b"OggS" + b"\0" * 60])
def test_what_is_no_sound_is_refused(content):
    with pytest.raises(BadInput):
        read_sound(content, LIMITS)


def test_texts_and_messages_are_checked():
    check_inputs("text", ["fine"], LIMITS)
    check_inputs("chat", [[{"role": "user", "content": "fine"}]], LIMITS)
    for takes, given in [
        ("text", [None]), ("text", [b"bytes"]), ("image", ["text"]), ("chat", [[]]), ("chat", [[{"role": "tool", "content": "x"}]]),
        ("chat", [[{"role": "user", "content": [1]}]]), ({"first": "image", "second": "image"}, [{"first": b"x"}]),
        ({"first": "image"}, ["x"]),
    ]:  # fmt: skip
        with pytest.raises(BadInput):
            check_inputs(takes, given, LIMITS)
    with pytest.raises(TooMuch):
        check_inputs("text", ["x" * 10_000_000], LIMITS)
    with pytest.raises(TooMuch):
        check_inputs("chat", [[{"role": "user", "content": "x" * 60_000}] * 2], LIMITS)
    with pytest.raises(TooMuch):
        check_inputs("chat", [[{"role": "user", "content": "x"}] * 201], LIMITS)


def test_what_the_ledger_keeps_of_a_text_and_an_answer():
    from treadle.capabilities import load_capability
    from treadle.capabilities.boxes import Box
    from treadle.capabilities.detect_objects import Thing, Things
    from treadle.capabilities.embed_text import Embedding

    assert facts("Guten Abend") == {"characters": 11, "words": 2, "beyond_ascii": 0.0}
    assert facts("Ёж")["beyond_ascii"] == 1.0
    assert load_capability("embed-text").found(Embedding([0.1, 0.2], 3)) is None
    thing = Thing("cat", 0.9, Box(0.0, 0.0, 1.0, 1.0))
    assert [load_capability("detect-objects").found(Things(some)) for some in ([], [thing, thing])] == [0, 2]
