"""Commands on collections of faces: who is enrolled, with what consent; enrolling and forgetting, both in the audit.

The audit names a person by a digest only: its rows stay, and who is forgotten should not be in them.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

from console.keys import whoami
from treadle.capabilities.face_collection import FaceCollection, collections
from treadle.capabilities.face_enrolling import enroll
from treadle.capabilities.pool import Done, Pool
from treadle.errors import BadData
from treadle.ledger import ANSWERED, Ledger, ReadyCall, ReadyCalls
from treadle.privacy import privacy_key
from treadle.settings import Settings


def list_people(settings: Settings, collection: str | None) -> list[dict[str, Any]]:
    """Everyone of one collection, or of all."""
    names = [collection] if collection else collections(settings)
    return [
        {
            "collection": name,
            "person": person.name,
            "pictures": len(person.rows()),
            "consent": person.consent,
            "by": person.by,
            "at": person.at,
            "model": person.model,
        }
        for name in names
        for person in FaceCollection(settings.ready_dir, name).people()
    ]


def enroll_person(settings: Settings, name: str, pictures: list[Path], consent: str, collection: str) -> dict[str, Any]:
    """Describe a person's pictures and remember the descriptors.

    Raises:
        BadData: A file cannot be read, the name or the note of the consent is missing.
        BadInput: A picture does not show one face.
    """
    try:
        files = {path.name: path.read_bytes() for path in pictures}
    except OSError as error:
        raise BadData(f"{error.filename} cannot be read: {error.strerror}.") from None
    ledger = Ledger.open(settings)
    pool = Pool(settings)
    try:
        enrolled = enroll(pool, name, files, consent, whoami(), collection)
    finally:
        pool.stop()
    _meter(ledger, enrolled.done, len(files))
    person = enrolled.person
    ledger.record_audit(whoami(), "enroll face", collection, None, _digest(settings, person.name))
    return {"collection": collection, "person": person.name, "pictures": len(files), "consent": person.consent}


def forget_person(settings: Settings, name: str, collection: str) -> dict[str, Any]:
    """Remove all that is known of a person.

    Raises:
        NotFound: There is no such person.
    """
    FaceCollection(settings.ready_dir, collection).forget(name)
    Ledger.open(settings).record_audit(whoami(), "forget face", collection, _digest(settings, name.strip()), None)
    return {"collection": collection, "forgotten": name.strip()}


def _digest(settings: Settings, name: str) -> str:
    """A name under the installation's key, so that nobody can find it out by trying names."""
    return f"person {hashlib.sha256(privacy_key(settings) + name.encode()).hexdigest()[:16]}"


def _meter(ledger: Ledger, done: Done, inputs: int) -> None:
    entry = done.entry
    call = ReadyCall(
        uuid.uuid4().hex, "search-faces", entry.model, entry.version, None, whoami(), "cli", ANSWERED, inputs,
        done.cpu_seconds, done.seconds, done.confidence, done.facts,
    )  # fmt: skip
    ReadyCalls(ledger).add(call)
