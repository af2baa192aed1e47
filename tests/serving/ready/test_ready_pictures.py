"""What sees, through `huggingface_hub.InferenceClient`, unchanged, against a real server."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ready")]


@pytest.fixture(scope="module")
def cup():
    import skimage

    return str(Path(skimage.__file__).parent / "data" / "coffee.png")


def test_image_classification(hub, cup):
    first, second = hub("classify-image").image_classification(cup, top_k=2)
    assert first.label == "espresso"
    assert first.score > second.score


def test_object_detection(hub, cup):
    (thing,) = hub("detect-objects").object_detection(cup, threshold=0.8)
    assert thing.label == "cup"
    assert 100 < thing.box.xmin < thing.box.xmax < 500


def test_faces_as_objects(hub, cup):
    astronaut = str(Path(cup).with_name("astronaut.png"))
    (face,) = hub("detect-faces").object_detection(astronaut)
    assert face.label == "face"
    assert face.box.ymax < 200
