"""A classifier that this platform trained, as a ready model: a ready embedder makes the vector, the champion judges it.

What joins the two is in the names of the champion's columns, which its signed manifest has: `embed-text.b5d6a8e6d4ed.007` is number
7 of the vector that `embed-text` makes with the files of that digest. `treadle ready embed` makes tables of such columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from treadle.capabilities.catalog import Entry, TrainedSource, entries_of
from treadle.errors import BadData
from treadle.models.bundle import Manifest
from treadle.models.onnx_session import open_session
from treadle.models.packing import Packer
from treadle.settings import Settings

if TYPE_CHECKING:
    from treadle.capabilities.protocol import Weights
    from treadle.models.trained import Champion

EMBEDDERS = MappingProxyType({"classify-text": "embed-text", "classify-image": "embed-image"})
"""What can be yours, and the capability that makes its columns."""
SHORT = 12
"""Signs of a digest that a column's name has."""
HEAD_MB = 128
"""Memory of a champion beside its embedder, roughly."""
TOLERANCE = 1e-4
_COLUMN = re.compile(r"(?P<embedder>embed-[a-z]+)\.(?P<digest>[0-9a-f]{12})\.(?P<place>\d{3,5})")


class DoesNotFit(BadData):
    """A model that was trained here and cannot be what it is asked to be."""

    title = "Does not fit"


@dataclass(frozen=True)
class Vectors:
    """What a champion's columns are.

    Attributes:
        embedder: The capability that made them.
        digest: The beginning of the digest of the model's files.
        places: By column the number of the vector.
    """

    embedder: str
    digest: str
    places: dict[str, int]


class Head(msgspec.Struct):
    """A verified champion on its way into the process of a model."""

    manifest: Manifest
    onnx: bytes


def column_names(embedder: Entry, width: int) -> list[str]:
    """The columns of a table of vectors.

    Raises:
        DoesNotFit: The model's files have no digest, so nobody could tell it from another.
    """
    if embedder.digest is None:
        raise DoesNotFit(
            f"{embedder.model} has no digest; `treadle ready install {embedder.capability}` writes it down."
        )
    return [f"{embedder.capability}.{embedder.digest[:SHORT]}.{place:03d}" for place in range(width)]


def read_columns(project: str, names: Iterable[str]) -> Vectors:
    """What a champion learned from.

    Raises:
        DoesNotFit: Columns that are no vector's, or vectors of two models.

    >>> read_columns("tickets", ["embed-text.b5d6a8e6d4ed.000", "embed-text.b5d6a8e6d4ed.002"]).places
    {'embed-text.b5d6a8e6d4ed.000': 0, 'embed-text.b5d6a8e6d4ed.002': 2}
    """
    found = {name: _COLUMN.fullmatch(name) for name in names}
    others = [name for name, match in found.items() if match is None]
    if others or not found:
        raise DoesNotFit(
            f"'{project}' learned from the column '{others[0] if others else ''}', which no ready model makes; make its table by"
            " `treadle ready embed`, and put other columns under data.ignore."
        )
    made = {(match["embedder"], match["digest"]) for match in found.values() if match}
    if len(made) > 1:
        raise DoesNotFit(
            f"'{project}' learned from vectors of two models; make its table by one `treadle ready embed`."
        )
    ((embedder, digest),) = made
    return Vectors(embedder, digest, {name: int(match["place"]) for name, match in found.items() if match})


def vectors_of(capability: str, project: str, manifest: Manifest) -> Vectors:
    """What a champion takes, if it can be this capability.

    Raises:
        DoesNotFit: It cannot.
    """
    if capability not in EMBEDDERS:
        raise DoesNotFit(f"Nothing that is trained here can be {capability}; {' and '.join(EMBEDDERS)} can be.")
    if manifest.classes is None:
        raise DoesNotFit(f"'{project}' is {manifest.problem} and says numbers; {capability} needs classes.")
    vectors = read_columns(project, (column.name for column in manifest.columns))
    if any(column.kind == "category" for column in manifest.columns):
        raise DoesNotFit(
            f"'{project}' took numbers of its vectors for categories; take them out of data.types and train again."
        )
    if vectors.embedder != EMBEDDERS[capability]:
        raise DoesNotFit(
            f"'{project}' learned from vectors of {vectors.embedder}; {capability} makes them by {EMBEDDERS[capability]}."
        )
    return vectors


def embedder_of(capability: str, project: str, manifest: Manifest, settings: Settings) -> Entry:
    """The ready model that made a champion's columns.

    Raises:
        DoesNotFit: It cannot be this capability, or the catalog has no such model any more.
    """
    vectors = vectors_of(capability, project, manifest)
    for entry in entries_of(vectors.embedder, settings):
        if entry.digest is not None and entry.digest.startswith(vectors.digest):
            return entry
    raise DoesNotFit(
        f"'{project}' learned from vectors of the {vectors.embedder} model {vectors.digest}, which the catalog does not have; install"
        " that one, or make the table anew by `treadle ready embed` and train again."
    )


def as_it_is(entry: Entry, settings: Settings) -> tuple[Entry, Champion, Entry]:
    """An entry of a model that was trained here with the version, digest and size of its champion; that; and its embedder.

    Raises:
        NotFound: It has none.
        DoesNotFit: The champion cannot be this capability.
        BrokenBundle: The champion is not what was registered.
    """
    from treadle.models.trained import champion_of, open_champion

    assert isinstance(entry.source, TrainedSource)  # noqa: S101 - the caller looked
    champion = champion_of(settings, entry.source.project)
    bundle = open_champion(settings, champion)
    embedder = embedder_of(entry.capability, champion.project, bundle.manifest, settings)
    now = {"version": str(champion.version), "digest": champion.digest, "size_bytes": len(bundle.served_bytes)}
    about = {"memory_mb": embedder.memory_mb + HEAD_MB, "languages": embedder.languages}
    return entry.model_copy(update=now | about), champion, embedder


def head_of(entry: Entry, folder: Path, settings: Settings) -> tuple[Entry, bytes]:
    """The embedder of an entry as `as_it_is` gave it, and its verified champion for the process that runs it.

    Args:
        entry: Of one version.
        folder: Of that version's bundle.
        settings: The installation.
    """
    from treadle.models.trained import Champion, open_champion

    assert isinstance(entry.source, TrainedSource)  # noqa: S101 - the caller looked
    assert entry.digest is not None  # noqa: S101 - as it is, it has that of its champion
    champion = Champion(entry.source.project, int(entry.version), entry.digest, folder)
    bundle = open_champion(settings, champion)
    embedder = embedder_of(entry.capability, champion.project, bundle.manifest, settings)
    return embedder, msgspec.msgpack.encode(Head(bundle.manifest, bundle.served_bytes))


class TrainedClassifier:
    """In a model's process: the embedder, and the champion behind it.

    Args:
        weights: The embedder's, with a head.

    Raises:
        BadData: The champion does not give the answers that it was registered with.
    """

    def __init__(self, weights: Weights) -> None:
        from treadle.capabilities import load_capability

        head = msgspec.msgpack.decode(weights.head, type=Head)
        manifest = head.manifest
        vectors = read_columns(manifest.model, (column.name for column in manifest.columns))
        self.labels = manifest.classes or ()
        self._embedder = load_capability(vectors.embedder)
        self._embedder.load(weights)
        self._asked = self._embedder.parse({})
        self._places = vectors.places
        self._packer = Packer(manifest.packed) if manifest.packed is not None else None
        self._session = open_session(head.onnx)
        self._try(manifest)

    def chances(self, inputs: Sequence[Any]) -> np.ndarray:
        """How likely each label is, (n, labels), rows sum to 1."""
        made = self._embedder.run(inputs, self._asked)
        vectors = np.array([one.embedding for one in made], dtype=np.float32).astype(np.float64)
        return self._judge({name: vectors[:, place] for name, place in self._places.items()})

    def _judge(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        given = columns if self._packer is None else self._packer.pack(columns)
        return np.asarray(self._session.run(None, given)[0], dtype=np.float64)

    def _try(self, manifest: Manifest) -> None:
        """Give the champion's smoke rows and compare, as the service does before a version answers there."""
        rows = [smoke.row for smoke in manifest.smoke]
        if not rows:
            return
        missing = float("nan")
        said = self._judge({
            name: np.array([missing if row.get(name) is None else float(row[name]) for row in rows]) for name in self._places
        })  # fmt: skip
        if not np.allclose(said, [smoke.answer for smoke in manifest.smoke], rtol=TOLERANCE, atol=TOLERANCE):
            raise BadData(
                f"Version {manifest.version} of '{manifest.model}' does not give the answers it was registered with."
            )
