"""People whom `search-faces` knows, by collection: whoever enrolls or forgets somebody is in the audit, the person is not.

The audit has a digest of the name under the installation's key: its rows stay, and who is forgotten should not be in them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from treadle.capabilities.face_collection import FaceCollection, Person, collections
from treadle.errors import NotFound
from treadle.ledger import Ledger
from treadle.ledger.audit import record
from treadle.privacy import privacy_key
from treadle.settings import Settings


class FaceRegister:
    """All collections of one installation.

    Args:
        settings: The installation.
        ledger: Where the audit is.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def collections(self) -> list[dict[str, Any]]:
        """Every collection, and how many people it knows."""
        return [
            {"collection": name, "people": len(self._collection(name).people())} for name in collections(self._settings)
        ]

    def people(self, collection: str) -> list[dict[str, Any]]:
        """Who is in a collection, with what consent, without the descriptors.

        Raises:
            BadData: A collection cannot have that name.
            NotFound: There is none.
        """
        found = self._collection(collection)
        if not found.exists():
            raise NotFound("There is no collection of that name; it begins when the first person is enrolled.")
        return [_row(collection, person) for person in found.people()]

    def enroll(
        self, collection: str, name: str, descriptors: np.ndarray, consent: str, model: str, by: str,
        key_id: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Remember a person, in place of what was known of the same name.

        Args:
            collection: Where; it begins with its first person.
            name: What searches answer with.
            descriptors: float32 (n, 128), one row a picture.
            consent: What is on record about the person's consent.
            model: Whose descriptors they are.
            by: Who enrolls.
            key_id: With which key.

        Raises:
            BadData: The collection or the person cannot have that name, or there is no note of the consent.
        """
        kept = self._collection(collection)
        # first the record: nobody is enrolled whom the audit knows nothing of
        with self._ledger.change() as connection:
            record(connection, by, "enroll face", collection, None, self._digest(name), key_id=key_id)
            person = kept.enroll(name, descriptors, consent, by, model)
        return _row(collection, person)

    def forget(self, collection: str, name: str, by: str, key_id: str | None = None) -> dict[str, Any]:
        """Remove all that is known of a person.

        Raises:
            BadData: A collection cannot have that name.
            NotFound: There is no such person.
        """
        kept = self._collection(collection)
        with self._ledger.change() as connection:
            record(connection, by, "forget face", collection, self._digest(name), None, key_id=key_id)
            kept.forget(name)
        return {"collection": collection, "forgotten": name.strip()}

    def _collection(self, name: str) -> FaceCollection:
        return FaceCollection(self._settings.ready_dir, name)

    def _digest(self, name: str) -> str:
        """A name under the installation's key, so that nobody can find it out by trying names."""
        return f"person {hashlib.sha256(privacy_key(self._settings) + name.strip().encode()).hexdigest()[:16]}"


def _row(collection: str, person: Person) -> dict[str, Any]:
    return {
        "collection": collection, "person": person.name, "pictures": len(person.rows()), "consent": person.consent,
        "by": person.by, "at": person.at, "model": person.model,
    }  # fmt: skip
