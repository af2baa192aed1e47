"""How well texts are read off pictures, and languages told: `python -m benchmarks.ready_reading`. Prints a Markdown table.

Pictures: sentences in fonts that matplotlib ships, as they are and as a bad photograph of them, and scikit-image's photograph of a
printed page. Languages: spaCy's example sentences.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np

from benchmarks.ready import Figure, ask, photographs
from benchmarks.ready_speech import word_error_rate
from benchmarks.ready_texts import SPANISH
from treadle.capabilities.pool import Pool
from treadle.settings import Settings

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique", "STIXGeneral", "cmr10")
SIZES = (14, 20, 32)
"""Pixels of a line of text."""
LINES = (*SPANISH, "Invoice 4711, 23 March 2026", "Total: 1,234.50 EUR (VAT 19%)")
PAGE = (
    "Region-based segmentation",
    "Let us first determine markers of the coins and the",
    "background. These markers are pixels that we can label",
    "unambiguously as either object or background. Here,",
    "the markers are found at the two extreme parts of the",
    "histogram of grey values:",
    ">>> markers = np.zeros_like(coins)",
)
"""What one reads in scikit-image's `page.png`, but for a line that is cut off."""
SHORT = 40
"""Characters below which a sentence is short."""


def read_text(pool: Pool) -> Iterator[Figure]:
    """Characters read wrongly, as a share of those that are there."""
    for what, spoil in (("", False), (", turned by 2 degrees, blurred, with noise, as a bad JPEG", True)):
        wrong = there = 0.0
        for font, size in product(FONTS, SIZES):
            ((answer,), _) = ask(pool, "read-text", [drawn(font, size, spoil)])
            share, characters = misread(LINES, [line["text"] for line in answer["lines"]])
            wrong, there = wrong + share * characters, there + characters
        on = f"{len(LINES)} lines in {len(FONTS)} fonts, {min(SIZES)} to {max(SIZES)} pixels high{what}"
        yield Figure("character error rate", round(wrong / there, 3), on)
    ((answer,), _) = ask(pool, "read-text", [photographs()["page"]])
    rate, _ = misread(PAGE, [line["text"] for line in answer["lines"]][: len(PAGE)])
    yield Figure("character error rate", round(rate, 3), "7 lines of a printed page, photographed (scikit-image)")


def misread(said: tuple[str, ...], read: list[str]) -> tuple[float, int]:
    """The character error rate of lines, and how many characters they have; line ends are spaces."""
    whole, found = " ".join(said), " ".join(read)
    return word_error_rate(list(whole), list(found)), len(whole)


def drawn(font: str, size: int, spoil: bool) -> bytes:
    """A picture of the lines, black on white."""
    import matplotlib as mpl
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    face = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"), size)
    image = Image.new("RGB", (size * 24, size * 2 * (len(LINES) + 1)), "white")
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(LINES):
        pen.text((size, size * (2 * number + 1)), line, fill="black", font=face)
    out = io.BytesIO()
    if not spoil:
        image.save(out, "PNG")
        return out.getvalue()
    turned = image.rotate(2, Image.Resampling.BILINEAR, fillcolor="white").filter(ImageFilter.GaussianBlur(size / 25))
    noise = np.random.default_rng(size).normal(0, 12, (image.height, image.width, 1))
    Image.fromarray((np.asarray(turned) * 0.85 + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=40)
    return out.getvalue()


def detect_language(pool: Pool) -> Iterator[Figure]:
    """Sentences whose language is told, of the languages that the model knows."""
    (row,), _ = ask(pool, "detect-language", ["x"], {"top_k": 100})
    known = {one["language"] for one in row["languages"]}
    sentences = [(code, text) for code, text in examples() if code in known]
    told: list[Any] = []
    for begin in range(0, len(sentences), 64):
        told += ask(pool, "detect-language", [text for _, text in sentences[begin : begin + 64]])[0]
    right = np.array([one["language"] == code for one, (code, _) in zip(told, sentences, strict=True)])
    short = np.array([len(text) < SHORT for _, text in sentences])
    many = len({code for code, _ in sentences})
    yield Figure(
        "accuracy", round(float(right.mean()), 3), f"{len(sentences)} sentences in {many} languages, spaCy's examples"
    )
    yield Figure(
        "accuracy",
        round(float(right[short].mean()), 3),
        f"the {short.sum()} of them with fewer than {SHORT} characters",
    )


def examples() -> Iterator[tuple[str, str]]:
    """Example sentences of spaCy, with their languages."""
    import spacy.lang

    for module in iter_modules(spacy.lang.__path__):
        try:
            found = import_module(f"spacy.lang.{module.name}.examples")
        except ImportError:  # some have none
            continue
        yield from ((module.name, text) for text in found.sentences)


def main() -> None:
    """Measure, and print."""
    pool = Pool(Settings(home=Path(tempfile.mkdtemp(prefix="ready-")), ready_run_s=600))
    print("| capability | figure | value | on |\n|---|---|---|---|")
    try:
        for name, measure in (("read-text", read_text), ("detect-language", detect_language)):
            for figure in measure(pool):
                print(f"| `{name}` | {figure.metric} | {figure.value} | {figure.on} |", flush=True)
    finally:
        pool.stop()


if __name__ == "__main__":
    main()
