"""Collections of faces that the user enrolls: a file a person, with descriptors, no pictures, and a note of the consent.

Whoever searches reads the files, each time; there is no other index, so that a person who is forgotten is nowhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from treadle.errors import BadData, NotFound, nearest
from treadle.settings import Settings

NAME = r"^[a-z][a-z0-9-]{0,62}$"
DEFAULT = "default"
LENGTH = 128
"""Numbers of a descriptor."""
MOST_PICTURES = 50
SHORTEST_NOTE = 3
LONGEST = 500


class Person(msgspec.Struct, frozen=True):
    """Someone who is known.

    Attributes:
        name: As the collection knows the person.
        consent: What is on record about the consent: who agreed to what, when, where it is kept.
        by: Who enrolled the person.
        at: When, ISO 8601.
        model: Whose descriptors they are; those of another model mean nothing beside them.
        descriptors: float32 (n, 128) as bytes, one row a picture.
    """

    name: str
    consent: str
    by: str
    at: str
    model: str
    descriptors: bytes

    def rows(self) -> np.ndarray:
        """The descriptors, float32 (n, 128)."""
        return np.frombuffer(self.descriptors, np.float32).reshape(-1, LENGTH)


class FaceCollection:
    """One collection.

    Args:
        ready: The installation's folder of ready models, `Settings.ready_dir`.
        name: Its name.

    Raises:
        BadData: A collection cannot have that name.
    """

    def __init__(self, ready: Path, name: str = DEFAULT) -> None:
        if not re.match(NAME, name):
            raise BadData("A collection's name has small letters, digits and hyphens, and begins with a letter.")
        self.name = name
        self._folder = ready / "faces" / name

    def exists(self) -> bool:
        """Whether anyone was ever enrolled; the default one always exists."""
        return self.name == DEFAULT or self._folder.is_dir()

    def people(self) -> list[Person]:
        """Everyone in it, by name."""
        people = []
        for path in self._folder.glob("*.msgpack"):
            try:
                people.append(msgspec.msgpack.decode(path.read_bytes(), type=Person))
            except FileNotFoundError:  # forgotten meanwhile
                continue
            except msgspec.DecodeError as error:
                raise BadData(f"{path} is no person of a collection; remove it.") from error
        return sorted(people, key=lambda person: person.name)

    def enroll(self, name: str, descriptors: np.ndarray, consent: str, by: str, model: str) -> Person:
        """Remember a person, in place of what was known of the same name.

        Args:
            name: What searches answer with.
            descriptors: float32 (n, 128), one row a picture.
            consent: What is on record about the person's consent; it must say something.
            by: Who enrolls.
            model: Whose descriptors they are.

        Raises:
            BadData: There is no name, no note of the consent, or no descriptor.
        """
        name, consent = check_person(name, consent)
        if not 1 <= len(descriptors) <= MOST_PICTURES or descriptors.shape[1:] != (LENGTH,):
            raise BadData(f"Enrolling needs 1 to {MOST_PICTURES} pictures with one face each.")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        person = Person(name, consent, by, at, model, np.ascontiguousarray(descriptors, np.float32).tobytes())
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(name)
        fresh = path.with_name(f".{path.stem}.{uuid.uuid4().hex}")
        fd = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(person))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        return person

    def forget(self, name: str) -> None:
        """Remove all that is known of a person: one file, and what a crash while it was written may have left of it.

        Raises:
            NotFound: There is no such person.
        """
        path = self._path(name.strip())
        for rest in self._folder.glob(f".{path.stem}.*"):
            rest.unlink(missing_ok=True)
        try:
            path.unlink()
        except FileNotFoundError:
            known = [person.name for person in self.people()]
            raise NotFound(f"Nobody of that name is in collection {self.name}.{nearest(name, known)}") from None

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.msgpack"


def check_person(name: str, consent: str) -> tuple[str, str]:
    """A person's name and the note of the consent as they are kept.

    Raises:
        BadData: One of them is missing, or too long.
    """
    name, consent = name.strip(), consent.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise BadData(f"A person needs a name of at most {LONGEST} printable characters.")
    if not SHORTEST_NOTE <= len(consent) <= LONGEST:
        raise BadData(
            f"Enrolling needs a note of the consent, of {SHORTEST_NOTE} to {LONGEST} characters:"
            " who agreed to what, and where that is kept."
        )
    return name, consent


def collections(settings: Settings) -> list[str]:
    """The names of all collections."""
    found = {path.name for path in (settings.ready_dir / "faces").glob("*") if path.is_dir()}
    return sorted(found | {DEFAULT})
