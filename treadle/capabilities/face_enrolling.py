"""The faces of people who are enrolled: their pictures are described, each must show one, and only the descriptors are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from treadle.capabilities.limits import BadInput
from treadle.capabilities.pool import Done, Pool

DESCRIBE = {"describe": True}
"""Parameters of `search-faces` that have it answer with descriptors."""


def describe(pool: Pool, pictures: Mapping[str, bytes], model: str | None = None) -> tuple[np.ndarray, Done]:
    """The descriptor of the one face of each picture.

    Args:
        pool: Where models run.
        pictures: Files by what they are called.
        model: The model that describes; by default the first that is installed.

    Returns:
        float32 (pictures, 128), and what it took, for the ledger.

    Raises:
        BadInput: A picture has no face, or several, or is none.
    """
    _, answering = pool.ask("search-faces", list(pictures.values()), DESCRIBE, model=model)
    done = answering.result()
    return descriptors_of(pictures, msgspec.msgpack.decode(done.answers)), done


def descriptors_of(pictures: Iterable[str], answers: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The descriptors out of the answers of `search-faces`, float32 (pictures, 128).

    Args:
        pictures: What the pictures are called.
        answers: One for each.

    Raises:
        BadInput: A picture has no face, or several.
    """
    rows = [_one_face(what, answer) for what, answer in zip(pictures, answers, strict=True)]
    return np.array(rows, np.float32)


def _one_face(what: str, answer: Mapping[str, Any]) -> list[float]:
    faces = answer["faces"]
    if len(faces) != 1:
        raise BadInput(
            f"{what} shows {len(faces) or 'no'} face{'s' * (len(faces) > 1)}; a picture to enroll shows one."
        )
    return faces[0]["descriptor"]  # type: ignore[no-any-return]
