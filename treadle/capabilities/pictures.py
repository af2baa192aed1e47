"""Pictures: looked at before they are decoded, then decoded whole. Runs where it can be killed."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treadle.capabilities.limits import BadInput, Limits, TooMuch
from treadle.capabilities.sources import missing_guest

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Others, such as EPS, would start other programs or are read by little-used code."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: uint8 (height, width, 3), RGB.
        form: Its format, such as `PNG`.
    """

    pixels: np.ndarray
    form: str

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.pixels.shape[0])

    def facts(self) -> dict[str, float]:
        """What is kept of it: its size, and how bright and contrasted it is, 0 to 255."""
        some = self.pixels[:: max(1, self.height // 64), :: max(1, self.width // 64)]
        return {
            "width": self.width,
            "height": self.height,
            "brightness": round(float(some.mean()), 1),
            "contrast": round(float(some.std()), 1),
        }


def read_picture(content: bytes, limits: Limits) -> Picture:
    """Decode a picture; of an animated one the first frame.

    Raises:
        BadInput: It is none, of a format that is not read, or cut off.
        TooMuch: It has more bytes, pixels or frames than it may; nothing was decoded.
    """
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise missing_guest("Pillow", "vision") from None
    limits.check_upload(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                _check_size(opened, limits)
                form = opened.format or ""
                upright = PIL.ImageOps.exif_transpose(opened)
                pixels = np.asarray(_on_white(upright), dtype=np.uint8)
    except TooMuch:
        raise
    except PIL.Image.DecompressionBombError:
        raise TooMuch(f"The picture has too many pixels; at most {limits.pixels:,} are decoded.") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, OverflowError):
        raise BadInput(f"This is no picture that can be read; {', '.join(FORMATS)} are.") from None
    return Picture(pixels, form)


def _check_size(opened: Image, limits: Limits) -> None:
    """Refuse by what the header says, and by seeking where frames are not counted in it."""
    pixels = opened.width * opened.height
    if pixels > limits.pixels:
        raise TooMuch(f"The picture has {pixels:,} pixels; at most {limits.pixels:,} are decoded.")
    if not getattr(opened, "is_animated", False):
        return
    try:
        opened.seek(limits.frames)
    except EOFError:
        opened.seek(0)
        return
    raise TooMuch(f"The picture has more than {limits.frames} frames; send it as a video, or one frame of it.")


def _on_white(image: Image) -> Image:
    """RGB; what is transparent becomes white, as on a page."""
    import PIL.Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def as_image(picture: Picture) -> Image:
    """A picture as Pillow has it."""
    import PIL.Image

    return PIL.Image.fromarray(picture.pixels)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels, uint8 (h, w, 3), brought to another size by bilinear interpolation, uint8 (height, width, 3)."""
    import PIL.Image

    image = PIL.Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), PIL.Image.Resampling.BILINEAR))
