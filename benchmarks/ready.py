"""How good and how quick ready models are, on real inputs that packages ship: `python -m benchmarks.ready [CAPABILITY …]`.

One function a capability; prints a Markdown table. `FACES=DIR` names a folder with a folder of pictures for each person, such as
`examples/images` of github.com/justadudewhohacks/face-api.js, for more pairs than the repository has.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from treadle.capabilities.pool import Done, Pool
from treadle.capabilities.sources import pick
from treadle.settings import CHECKOUT, Settings

OBJECTS = {
    "astronaut": ["person"],
    "chelsea": ["cat"],
    "coffee": ["cup", "dining table"],
    "motorcycle_left": ["motorcycle"],
    "rocket": [],
}
"""What there is, of COCO's kinds, in pictures of scikit-image."""
KINDS = {
    "chelsea": {"Egyptian cat", "tabby, tabby cat", "tiger cat"},
    "coffee": {"espresso", "cup"},
    "motorcycle_left": {"moped", "motor scooter, scooter"},
    "rocket": {"missile", "projectile, missile"},
}
"""Names of ImageNet that are right for pictures of scikit-image."""
ROUNDS = 7


@dataclass(frozen=True)
class Figure:
    """One figure, and what it was measured on."""

    metric: str
    value: float
    on: str


Measure = Callable[[Pool], Iterator[Figure]]


def photographs() -> dict[str, bytes]:
    """Files of scikit-image, by name."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.*")) if path.suffix in (".png", ".jpg")}


def ask(
    pool: Pool, capability: str, inputs: Sequence[Any], parameters: dict[str, Any] | None = None
) -> tuple[Any, Done]:
    """The answers of the default, and what they took."""
    _, answering = pool.ask(capability, inputs, parameters or {})
    done = answering.result()
    return msgspec.msgpack.decode(done.answers), done


def speed(pool: Pool, capability: str, given: Any, parameters: dict[str, Any] | None = None) -> Iterator[Figure]:
    """Milliseconds an input, alone and sixteen together, decoding included; the median of some rounds."""
    for many in (1, 16):
        taken = [ask(pool, capability, [given] * many, parameters)[1] for _ in range(ROUNDS)]
        for name in ("seconds", "cpu_seconds"):
            each = median(getattr(done, name) for done in taken) / many * 1000
            yield Figure(
                f"{'CPU ' * (name == 'cpu_seconds')}ms an input, {many} at once", round(each, 1), "this machine"
            )


def detect_objects(pool: Pool) -> Iterator[Figure]:
    """Things that are there and found, and found but not there."""
    files = photographs()
    there = found = wrong = 0
    for name, labels in OBJECTS.items():
        (answer,), _ = ask(pool, "detect-objects", [files[name]])
        wanted, seen = Counter(labels), Counter(one["label"] for one in answer["objects"])
        hits = (wanted & seen).total()
        there, found, wrong = there + wanted.total(), found + hits, wrong + seen.total() - hits
    on = f"{there} things in {len(OBJECTS)} pictures of scikit-image"
    yield Figure("recall", round(found / there, 3), on)
    yield Figure("wrongly found", wrong, on)
    yield from speed(pool, "detect-objects", files["astronaut"])


def classify_image(pool: Pool) -> Iterator[Figure]:
    """Pictures whose first answer, or one of the first five, is right."""
    files = photographs()
    answers, _ = ask(pool, "classify-image", [files[name] for name in KINDS])
    ranked = [[one["label"] for one in answer["labels"]] for answer in answers]
    on = f"{len(KINDS)} pictures of scikit-image"
    for most in (1, 5):
        right = sum(bool(KINDS[name] & set(labels[:most])) for name, labels in zip(KINDS, ranked, strict=True))
        yield Figure(f"top-{most} accuracy", round(right / len(KINDS), 3), on)
    yield from speed(pool, "classify-image", files["astronaut"])


def embed_image(pool: Pool) -> Iterator[Figure]:
    """How often a picture's mirrored middle is nearer to it than any other picture is."""
    import io

    from PIL import Image, ImageOps

    files = {
        name: content for name, content in photographs().items() if not name.startswith(("chessboard", "multipage"))
    }
    changed = []
    for content in files.values():
        image = Image.open(io.BytesIO(content)).convert("RGB")
        part = ImageOps.mirror(image).crop((image.width // 8, image.height // 8, image.width, image.height))
        out = io.BytesIO()
        part.save(out, "JPEG")
        changed.append(out.getvalue())
    vectors = [
        [one["embedding"] for one in ask(pool, "embed-image", some)[0]] for some in (list(files.values()), changed)
    ]
    likest = (np.array(vectors[1]) @ np.array(vectors[0]).T).argmax(axis=1)
    share = float((likest == np.arange(len(files))).mean())
    yield Figure("found again, mirrored and cut", round(share, 3), f"{len(files)} pictures of scikit-image")
    yield from speed(pool, "embed-image", next(iter(files.values())))


def detect_faces(pool: Pool) -> Iterator[Figure]:
    """Portraits in which one face is found."""
    people = portraits()
    files = [content for contents in people.values() for content in contents]
    answers = [ask(pool, "detect-faces", [content])[0][0] for content in files]
    one = sum(len(answer["faces"]) == 1 for answer in answers)
    yield Figure(
        "portraits with one face found", round(one / len(files), 3), f"{len(files)} portraits of {len(people)} people"
    )
    yield from speed(pool, "detect-faces", photographs()["astronaut"])


def compare_faces(pool: Pool) -> Iterator[Figure]:
    """Pairs of one person that are told so, and pairs of two people that are told so."""
    people = portraits()
    described = {}
    for name, files in people.items():
        answers = [ask(pool, "search-faces", [content], {"describe": True})[0][0] for content in files]
        described[name] = [np.array(answer["faces"][0]["descriptor"]) for answer in answers if answer["faces"]]
    rows = [(name, row) for name, some in described.items() for row in some]
    same, other = [], []
    for (left, one), (right, two) in combinations(rows, 2):
        (same if left == right else other).append(float(np.linalg.norm(one - two)))
    on = f"{len(same)} pairs of one person, {len(other)} of two, {len(people)} people"
    yield Figure("pairs of one person told so", round(float(np.mean(np.array(same) <= 0.6)), 3), on)
    yield Figure("pairs of two people told so", round(float(np.mean(np.array(other) > 0.6)), 3), on)
    pair = {"first": photographs()["astronaut"], "second": photographs()["astronaut"]}
    yield from speed(pool, "compare-faces", pair)


def portraits() -> dict[str, list[bytes]]:
    """Pictures of people by name, of a folder or those of the tests and scikit-image."""
    if folder := os.environ.get("FACES"):
        found = {
            path.name: [file.read_bytes() for file in sorted(path.iterdir())]
            for path in sorted(Path(folder).iterdir())
            if path.is_dir()
        }
        return {name: files for name, files in found.items() if files}
    people: dict[str, list[bytes]] = {"astronaut": [photographs()["astronaut"]]}
    for path in sorted((CHECKOUT / "tests" / "pictures").glob("*.jpg")):
        people.setdefault(path.stem.split("-")[0], []).append(path.read_bytes())
    return people


MEASURES: dict[str, Measure] = {
    "classify-image": classify_image,
    "detect-objects": detect_objects,
    "detect-faces": detect_faces,
    "compare-faces": compare_faces,
    "embed-image": embed_image,
}


def main(names: Sequence[str]) -> None:
    """Measure, and print."""
    pool = Pool(Settings(home=Path(tempfile.mkdtemp(prefix="ready-")), ready_run_s=600))
    print("| capability | model | figure | value | on |\n|---|---|---|---|---|")
    try:
        for name in names or MEASURES:
            model = pick(name, None, pool.settings)[0].model
            for figure in MEASURES[name](pool):
                print(f"| `{name}` | {model} | {figure.metric} | {figure.value} | {figure.on} |", flush=True)
    finally:
        pool.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
