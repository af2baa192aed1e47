"""Faces in real pictures: found, compared, enrolled, searched for, forgotten."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from treadle.capabilities.face_collection import FaceCollection, collections
from treadle.capabilities.face_enrolling import describe
from treadle.capabilities.face_model import UPRIGHT, likeness, similarity
from treadle.capabilities.limits import BadInput
from treadle.errors import BadData, NotFound
from treadle.settings import CHECKOUT

PICTURES = CHECKOUT / "tests" / "pictures"
CONSENT = "A photograph of the White House, in the public domain"


@pytest.fixture(scope="module")
def people():
    """Files of three people, two of one of them."""
    import skimage

    astronaut = (Path(skimage.__file__).parent / "data" / "astronaut.png").read_bytes()
    named = {path.stem: path.read_bytes() for path in PICTURES.glob("*.jpg")}
    return named | {"astronaut": astronaut}


@pytest.fixture
def nobody():
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (200, 150), "#88aacc").save(out, "PNG")
    return out.getvalue()


def ask(pool, capability, given, parameters=None):
    _, future = pool.ask(capability, [given], parameters or {})
    return msgspec.msgpack.decode(future.result(timeout=300).answers)[0]


def enroll(pool, name, pictures, collection="default"):
    described, done = describe(pool, pictures)
    return FaceCollection(pool.settings.ready_dir, collection).enroll(
        name, described, CONSENT, "tester", done.entry.model
    )


def test_a_face_and_its_points_are_found(pool, people, nobody):
    (face,) = ask(pool, "detect-faces", people["astronaut"])["faces"]
    box, points = face["box"], face["points"]
    assert face["score"] > 0.9
    assert abs(box["xmin"] - 178) < 10
    assert abs(box["ymax"] - 177) < 10
    assert points["left_eye"]["x"] < points["nose"]["x"] < points["right_eye"]["x"]
    assert points["left_eye"]["y"] < points["nose"]["y"] < points["mouth_left"]["y"]
    assert ask(pool, "detect-faces", nobody)["faces"] == []


def test_one_person_s_pictures_are_alike_and_others_are_not(pool, people):
    same = ask(pool, "compare-faces", {"first": people["obama-2012"], "second": people["obama-speaking"]})
    assert same["same"]
    assert same["score"] > 0.8
    for first, second in (("obama-2012", "biden-2013"), ("obama-speaking", "astronaut"), ("astronaut", "biden-2013")):
        other = ask(pool, "compare-faces", {"first": people[first], "second": people[second]})
        assert not other["same"], (first, second)
        assert other["faces"][0]["distance"] > 0.6


def test_all_faces_of_the_second_picture_are_compared(pool, people):
    from PIL import Image

    both = Image.new("RGB", (620, 320), "white")
    for place, name in ((0, "biden-2013"), (310, "obama-speaking")):
        both.paste(Image.open(io.BytesIO(people[name])), (place, 5))
    out = io.BytesIO()
    both.save(out, "PNG")
    answer = ask(pool, "compare-faces", {"first": people["obama-2012"], "second": out.getvalue()})
    assert [face["same"] for face in answer["faces"]] == [True, False]
    assert answer["faces"][0]["box"]["xmin"] > 310
    strict = ask(
        pool, "compare-faces", {"first": people["obama-2012"], "second": out.getvalue()}, {"most_distance": 0.1}
    )
    assert not strict["same"]


def test_a_picture_without_a_face_is_refused(pool, people, nobody):
    with pytest.raises(BadInput, match="No face was found in the second picture"):
        ask(pool, "compare-faces", {"first": people["astronaut"], "second": nobody})


def test_who_is_enrolled_is_found_and_who_is_forgotten_is_gone(pool, people):
    assert ask(pool, "search-faces", people["obama-speaking"])["faces"][0]["matches"] == []
    for name, picture in (("Barack", "obama-2012"), ("Eileen", "astronaut")):
        assert enroll(pool, name, {picture: people[picture]}).consent == CONSENT
    (face,) = ask(pool, "search-faces", people["obama-speaking"], {"top_k": 5})["faces"]
    assert [match["person"] for match in face["matches"]] == ["Barack"]
    assert "descriptor" not in face
    assert ask(pool, "search-faces", people["biden-2013"])["faces"][0]["matches"] == []
    collection = FaceCollection(pool.settings.ready_dir)
    collection.forget("Barack")
    assert ask(pool, "search-faces", people["obama-speaking"])["faces"][0]["matches"] == []
    kept = b"".join(path.read_bytes() for path in pool.settings.ready_dir.rglob("*") if path.is_file())
    assert b"Barack" not in kept
    assert b"Eileen" in kept
    with pytest.raises(NotFound, match="Nobody of that name"):
        collection.forget("Barack")


def test_only_pictures_of_one_face_are_enrolled(pool, people, nobody):
    with pytest.raises(BadInput, match=r"nobody\.png shows no face"):
        enroll(pool, "Nobody", {"nobody.png": nobody}, "guests")
    assert FaceCollection(pool.settings.ready_dir, "guests").people() == []


def test_a_collection_that_nobody_made_is_an_error(pool, people):
    with pytest.raises(BadInput, match="no collection of that name"):
        ask(pool, "search-faces", people["astronaut"], {"collection": "staff"})
    with pytest.raises(BadInput, match="parameters"):
        ask(pool, "search-faces", people["astronaut"], {"collection": "../../etc"})


def test_enrolling_needs_a_note_of_the_consent(settings):
    collection = FaceCollection(settings.ready_dir, "staff")
    row = np.zeros((1, 128), np.float32)
    with pytest.raises(BadData, match="note of the consent"):
        collection.enroll("Ada", row, "  ", "tester", "m")
    with pytest.raises(BadData, match="name"):
        collection.enroll(" ", row, CONSENT, "tester", "m")
    with pytest.raises(BadData, match="pictures"):
        collection.enroll("Ada", np.zeros((0, 128), np.float32), CONSENT, "tester", "m")
    assert collections(settings) == ["default"]
    with pytest.raises(BadData, match="small letters"):
        FaceCollection(settings.ready_dir, "../staff")


def test_a_person_is_kept_as_given_and_once(settings):
    collection = FaceCollection(settings.ready_dir, "staff")
    rows = np.arange(256, dtype=np.float32).reshape(2, 128)
    collection.enroll("Ada", rows, CONSENT, "tester", "m")
    collection.enroll("Ada", rows[:1], "Signed form 7", "other", "m")
    (person,) = collection.people()
    assert (person.consent, person.by) == ("Signed form 7", "other")
    assert np.array_equal(person.rows(), rows[:1])
    (path,) = (settings.ready_dir / "faces" / "staff").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert collections(settings) == ["default", "staff"]


def test_what_a_crash_left_of_a_person_goes_with_the_person(settings):
    collection = FaceCollection(settings.ready_dir)
    collection.enroll("Ada", np.zeros((1, 128), np.float32), CONSENT, "tester", "m")
    folder = settings.ready_dir / "faces" / "default"
    (path,) = folder.iterdir()
    (folder / f".{path.stem}.half").write_bytes(b"Ada")
    collection.forget("Ada")
    assert list(folder.iterdir()) == []


def test_points_are_brought_where_they_should_be():
    turned = UPRIGHT @ np.array([[0.0, -3.0], [3.0, 0.0]]) + (40, 70)
    move = similarity(turned, UPRIGHT)
    assert np.allclose(turned @ move[:, :2].T + move[:, 2], UPRIGHT)


def test_scores_fall_with_distance():
    assert likeness(0.2) > likeness(0.6) > likeness(0.9)
