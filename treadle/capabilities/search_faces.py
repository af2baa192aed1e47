"""`search-faces`: who of a collection that the user enrolled is in a picture, by YuNet and dlib's network on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box, Mark
from treadle.capabilities.compare_faces import MOST_FACES, MostDistance
from treadle.capabilities.detect_faces import LookForFaces
from treadle.capabilities.face_collection import DEFAULT, NAME, FaceCollection, Person
from treadle.capabilities.face_model import ONE_PERSON, find_faces, likeness, open_face_model
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pictures import Picture
from treadle.errors import BadData

NOBODY = "unknown"


class Searching(LookForFaces, frozen=True, kw_only=True):
    """Where and how is searched.

    Attributes:
        collection: The collection.
        most_distance: Who is farther away from a face is not told; less is stricter.
        top_k: At most so many people for each face.
        describe: Answer with the descriptor of each face, which enrolling keeps.
    """

    collection: Annotated[str, msgspec.Meta(pattern=NAME)] = DEFAULT
    most_distance: MostDistance = ONE_PERSON
    top_k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    describe: bool = False


class Match(msgspec.Struct, frozen=True):
    """A person of the collection, how like the face is, 0 to 1, and the distance to the nearest picture."""

    person: str
    score: float
    distance: float


class SeenFace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A face, and who it may be, the likest first."""

    box: Box
    score: float
    matches: list[Match]
    descriptor: list[float] | None = None


class Seen(msgspec.Struct, frozen=True):
    """All faces, the largest first."""

    faces: list[SeenFace]


class SearchFaces(protocol.Capability):
    """People of a collection in a picture."""

    name = "search-faces"
    takes = "image"
    Parameters = Searching
    Answer = Seen
    hub_runtime = "onnxruntime"

    def load(self, weights: protocol.Weights) -> None:
        """Open detector and describing network."""
        self._model = open_face_model(weights.folder, weights.entry.source.files)
        self._name = weights.entry.model
        self._ready = weights.ready

    def run(self, inputs: Sequence[Picture], parameters: Searching) -> list[Seen]:
        """Search in each picture."""
        people = self._people(parameters.collection)
        return [self._one(picture, people, parameters) for picture in inputs]

    def _people(self, name: str) -> list[Person]:
        """Everyone of a collection whom this model described; read each time, so that who is forgotten is not found."""
        collection = FaceCollection(self._ready, name)
        if not collection.exists():
            raise BadInput("There is no collection of that name; it begins when the first person is enrolled.")
        try:
            return [person for person in collection.people() if person.model == self._name]
        except BadData as error:
            raise BadInput(str(error)) from None

    def _one(self, picture: Picture, people: list[Person], parameters: Searching) -> Seen:
        found = find_faces(self._model.finder, picture, parameters.min_score, parameters.longest)[:MOST_FACES]
        found.sort(key=lambda face: -face.size)
        described = self._model.describe(picture, found)
        return Seen(
            [
                SeenFace(
                    face.box,
                    face.score,
                    _matches(row, people, parameters),
                    row.tolist() if parameters.describe else None,
                )
                for face, row in zip(found, described, strict=True)
            ]
        )

    def confidence(self, answer: Seen) -> float | None:
        """The mean of the likest people's scores."""
        scores = [face.matches[0].score for face in answer.faces if face.matches]
        return sum(scores) / len(scores) if scores else None

    def marks(self, answer: Seen) -> list[Mark]:
        """Who was found where."""
        return [
            Mark(face.matches[0].person, face.matches[0].score, face.box)
            if face.matches
            else Mark(NOBODY, face.score, face.box)
            for face in answer.faces
        ]


def _matches(described: np.ndarray, people: list[Person], parameters: Searching) -> list[Match]:
    """Who is near enough to a face, the nearest first."""
    near = []
    for person in people:
        distance = float(np.linalg.norm(person.rows() - described, axis=1).min())
        if distance <= parameters.most_distance:
            near.append(Match(person.name, likeness(distance), distance))
    return sorted(near, key=lambda match: match.distance)[: parameters.top_k]
