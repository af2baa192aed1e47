"""Things in real pictures by the default, and the path of hub models on a tiny one that is made here."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from treadle.capabilities.boxes import Box
from treadle.capabilities.catalog import Entry, HubSource, add_entry
from treadle.capabilities.detect_objects import DetectObjects, Thing, Things
from treadle.capabilities.overlaps import box_within, overlaps, suppress


@pytest.fixture(scope="module")
def photographs():
    import skimage

    return Path(skimage.__file__).parent / "data"


def ask(pool, capability, given, parameters=None, model=None):
    entry, future = pool.ask(capability, [given], parameters or {}, model=model)
    return entry, msgspec.msgpack.decode(future.result(timeout=300).answers)[0]


def test_known_things_are_found_where_they_are(pool, photographs):
    expected = {
        "astronaut.png": {"person": (12, 16, 370, 510)},
        "chelsea.png": {"cat": (0, 0, 451, 300)},
        "coffee.png": {"cup": (160, 15, 425, 295), "dining table": (0, 0, 600, 400)},
    }
    for name, things in expected.items():
        _, answer = ask(pool, "detect-objects", (photographs / name).read_bytes())
        found = {one["label"]: one["box"] for one in answer["objects"]}
        assert found.keys() == things.keys(), name
        for label, corners in things.items():
            box = found[label]
            there = np.array([[box["xmin"], box["ymin"], box["xmax"], box["ymax"]]])
            assert overlaps(there, np.array([corners]))[0, 0] > 0.75, (name, label, box)


def test_parameters_choose_how_much_is_told(pool, photographs):
    cup = (photographs / "coffee.png").read_bytes()
    _, few = ask(pool, "detect-objects", cup, {"most": 1})
    _, sure = ask(pool, "detect-objects", cup, {"min_score": 0.8})
    _, many = ask(pool, "detect-objects", cup, {"min_score": 0.05})
    assert [one["label"] for one in few["objects"]] == [one["label"] for one in sure["objects"]] == ["cup"]
    assert [one["label"] for one in many["objects"]][:2] == ["cup", "dining table"]


def test_the_hub_s_threshold_is_our_min_score():
    light = DetectObjects()
    inputs, parameters = light.from_hub(b"...", {"threshold": 0.9})
    assert (inputs, parameters) == ([b"..."], {"min_score": 0.9})
    typed = Things([Thing("cat", 0.5, Box(1, 1, 2, 2))])
    assert [mark.label for mark in light.marks(typed)] == ["cat"]
    assert light.confidence(typed) == 0.5


@pytest.mark.slow
def test_a_model_of_the_hub_answers_in_its_place(pool, photographs, tmp_path):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=[32, 32], patch_size=8, num_detection_tokens=4, num_labels=3,
    )  # fmt: skip
    folder = tmp_path / "tiny-yolos"
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    transformers.YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)
    files = tuple(sorted(path.name for path in folder.iterdir()))
    entry = Entry(
        capability="detect-objects", model="tiny-yolos", version="1", licence="MIT", size_bytes=1, memory_mb=1500,
        source=HubSource(kind="hub", id=str(folder), files=files), runtime="transformers",
    )  # fmt: skip
    add_entry(entry, pool.settings)
    used, answer = ask(
        pool, "detect-objects", (photographs / "chelsea.png").read_bytes(), {"min_score": 0.05}, "tiny-yolos"
    )
    assert used.model == "tiny-yolos"
    assert answer["objects"]
    for one in answer["objects"]:
        assert one["label"].startswith("LABEL_")
        assert 0 <= one["box"]["xmin"] < one["box"]["xmax"] <= 451
        assert 0 <= one["box"]["ymin"] < one["box"]["ymax"] <= 300


def test_of_overlapping_rectangles_of_one_kind_the_surest_stays():
    corners = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10], [20, 20, 30, 30]], float)
    kept = suppress(corners, np.array([0.6, 0.9, 0.7, 0.5]), np.array([1, 1, 2, 1]), 0.45)
    assert kept.tolist() == [1, 2, 3]
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5).tolist() == []


def test_boxes_stay_within_the_picture():
    box = box_within(np.array([-3.2, 1.5, 99.0, 7.2]), 50, 8)
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0, 1, 50, 8)
