"""Places in a picture, and drawing them. Every vision capability that finds things uses these."""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec

from treadle.capabilities.limits import Limits
from treadle.capabilities.pictures import read_picture


class Box(msgspec.Struct, frozen=True):
    """A rectangle in pixels of the upright picture; `xmax` and `ymax` are outside of it."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Mark(msgspec.Struct, frozen=True):
    """What is drawn onto a picture."""

    label: str
    score: float
    box: Box


def draw(content: bytes, marks: Sequence[Mark], limits: Limits) -> bytes:
    """A picture with marks on it, as PNG."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(read_picture(content, limits).pixels)
    pen = ImageDraw.Draw(picture)
    size = max(12, picture.height // 50)
    font = ImageFont.load_default(size)
    for mark in marks:
        box = mark.box
        pen.rectangle((box.xmin, box.ymin, box.xmax, box.ymax), outline="#d7263d", width=max(2, size // 8))
        said = f"{mark.label} {mark.score:.2f}"
        top = max(0, box.ymin - size - 2)
        pen.rectangle((box.xmin, top, box.xmin + pen.textlength(said, font), top + size + 2), fill="#d7263d")
        pen.text((box.xmin, top), said, fill="white", font=font)
    with io.BytesIO() as out:
        picture.save(out, "PNG")
        return out.getvalue()
