"""Enrolling people into a collection of faces: their pictures are described, and only the descriptors are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from treadle.capabilities.face_collection import DEFAULT, FaceCollection, Person
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pool import Done, Pool


@dataclass(frozen=True)
class Enrolled:
    """A person who is known now, and what describing the pictures took, for the ledger."""

    person: Person
    done: Done


def enroll(
    pool: Pool, name: str, pictures: Mapping[str, bytes], consent: str, by: str, collection: str = DEFAULT, model: str | None = None
) -> Enrolled:  # fmt: skip
    """Describe the one face of each picture, and remember the person.

    Args:
        pool: Where models run.
        name: The person's.
        pictures: Files by what they are called.
        consent: What is on record about the person's consent.
        by: Who enrolls.
        collection: Where.
        model: The model that describes; by default the first that is installed.

    Raises:
        BadInput: A picture has no face, or several, or is none.
        BadData: There is no name or no note of the consent.
    """
    kept = FaceCollection(pool.settings.ready_dir, collection)
    entry, answering = pool.ask("search-faces", list(pictures.values()), {"describe": True}, model=model)
    done = answering.result()
    rows = [
        _one_face(what, answer)
        for what, answer in zip(pictures, msgspec.msgpack.decode(done.answers), strict=True)
    ]  # fmt: skip
    return Enrolled(kept.enroll(name, np.array(rows, np.float32), consent, by, entry.model), done)


def _one_face(what: str, answer: Mapping[str, Any]) -> list[float]:
    faces = answer["faces"]
    if len(faces) != 1:
        raise BadInput(
            f"{what} shows {len(faces) or 'no'} face{'s' * (len(faces) > 1)}; a picture to enroll shows one."
        )
    return faces[0]["descriptor"]  # type: ignore[no-any-return]
