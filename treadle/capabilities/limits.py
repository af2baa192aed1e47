"""What one request may bring and take. Uploads are bombs until proved otherwise: looked at before they are decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass

from treadle.errors import TreadleError
from treadle.settings import Settings


class BadInput(TreadleError):
    """An input that is not what it should be: no picture, no sound, nothing to read."""

    status = 422
    title = "Bad input"


class TooMuch(TreadleError):
    """An input that would take more than one request may."""

    status = 413
    title = "Too much"


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        inputs: Inputs in one request.
        upload_bytes: Of one file.
        characters: Of one text.
        pixels: Of one picture, width times height.
        frames: Of one animated picture.
        sound_s: Length of one sound, seconds.
        run_s: Seconds that reading the inputs and answering them may take.
    """

    inputs: int = 64
    upload_bytes: int = 32 << 20
    characters: int = 100_000
    pixels: int = 50_000_000
    frames: int = 256
    sound_s: float = 1800.0
    run_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits of an installation."""
        return cls(
            inputs=settings.ready_inputs,
            upload_bytes=settings.ready_upload_bytes,
            characters=settings.ready_characters,
            pixels=settings.ready_pixels,
            sound_s=settings.ready_sound_s,
            run_s=settings.ready_run_s,
        )

    def check_text(self, text: str) -> None:
        """Refuse a text that is too long.

        Raises:
            TooMuch: It is.
        """
        if len(text) > self.characters:
            raise TooMuch(f"A text has {len(text):,} characters; at most {self.characters:,} are read at once.")

    def check_upload(self, content: bytes) -> None:
        """Refuse a file that is too large, or empty.

        Raises:
            TooMuch: It is too large.
            BadInput: It is empty.
        """
        if not content:
            raise BadInput("The file is empty.")
        if len(content) > self.upload_bytes:
            raise TooMuch(f"The file has {len(content):,} bytes; at most {self.upload_bytes:,} are read.")


def cores() -> int:
    """Cores that this process may use, which in a container or under `taskset` are fewer than the machine's."""
    return len(os.sched_getaffinity(0))
