"""Commands on collections of faces: who is enrolled, with what consent; enrolling and forgetting, both in the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from console.keys import whoami
from console.ready import keep_call
from treadle.capabilities.face_collection import check_person
from treadle.capabilities.face_enrolling import describe
from treadle.capabilities.pool import Pool
from treadle.errors import BadData
from treadle.face_register import FaceRegister
from treadle.ledger import Ledger, ReadyCalls
from treadle.settings import Settings


def list_people(settings: Settings, collection: str | None) -> list[dict[str, Any]]:
    """Everyone of one collection, or of all.

    Raises:
        NotFound: There is no collection of that name.
    """
    register = FaceRegister(settings, Ledger.open(settings))
    names = [collection] if collection else [one["collection"] for one in register.collections()]
    return [person for name in names for person in register.people(name)]


def enroll_person(settings: Settings, name: str, pictures: list[Path], consent: str, collection: str) -> dict[str, Any]:
    """Describe a person's pictures and remember the descriptors.

    Raises:
        BadData: A file cannot be read, the name or the note of the consent is missing.
        BadInput: A picture does not show one face.
    """
    check_person(name, consent)
    try:
        files = {str(path): path.read_bytes() for path in pictures}
    except OSError as error:
        raise BadData(f"{error.filename} cannot be read: {error.strerror}.") from None
    ledger = Ledger.open(settings)
    pool = Pool(settings)
    try:
        descriptors, done = describe(pool, files)
    finally:
        pool.stop()
    keep_call(ReadyCalls(ledger), "search-faces", done, len(files))
    model = done.entry.model
    kept = FaceRegister(settings, ledger).enroll(collection, name, descriptors, consent, model, whoami())
    return {field: kept[field] for field in ("collection", "person", "pictures", "consent")}


def forget_person(settings: Settings, name: str, collection: str) -> dict[str, Any]:
    """Remove all that is known of a person.

    Raises:
        NotFound: There is no such person.
    """
    return FaceRegister(settings, Ledger.open(settings)).forget(collection, name, whoami())
