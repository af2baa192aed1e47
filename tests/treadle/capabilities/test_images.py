"""What pictures show: the default on real pictures, hub models of each architecture on tiny ones that are made here."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from treadle.capabilities.catalog import Entry, HubSource, add_entry
from treadle.capabilities.classify_image import ClassifyImage
from treadle.capabilities.limits import BadInput
from treadle.capabilities.sources import NotInstalled
from treadle.capabilities.zero_shot_classify_image import ZeroShotClassifyImage

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32, "patch_size": 8,
}  # fmt: skip
SQUARE = {"height": 32, "width": 32}


@pytest.fixture(scope="module")
def photographs():
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


def ask(pool, capability, inputs, parameters=None, model=None):
    _, future = pool.ask(capability, inputs, parameters or {}, model=model)
    return msgspec.msgpack.decode(future.result(timeout=300).answers)


def add_local(pool, capability, folder):
    """Enter a folder of the hub's form into the installation's catalog."""
    files = tuple(sorted(path.name for path in folder.iterdir()))
    entry = Entry(
        capability=capability, model=folder.name, version="1", licence="MIT", size_bytes=1, memory_mb=1500,
        source=HubSource(kind="hub", id=str(folder), files=files), runtime="transformers",
    )  # fmt: skip
    add_entry(entry, pool.settings)
    return folder.name


def test_known_pictures_are_classified(pool, photographs):
    cat, coffee, motorcycle = ask(
        pool, "classify-image", [photographs[name] for name in ("chelsea", "coffee", "motorcycle_left")], {"top_k": 3}
    )
    assert {"Egyptian cat", "tabby, tabby cat", "tiger cat"} == {one["label"] for one in cat["labels"]}
    assert (coffee["label"], coffee["labels"][0]["label"]) == ("espresso", "espresso")
    assert coffee["score"] > 0.8
    assert motorcycle["label"] == "moped"
    assert len(motorcycle["labels"]) == 3


def test_scores_are_chances(pool, photographs):
    (all_kinds,) = ask(pool, "classify-image", [photographs["coffee"]], {"top_k": 1000})
    scores = [one["score"] for one in all_kinds["labels"]]
    assert len({one["label"] for one in all_kinds["labels"]}) == 1000
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert scores == sorted(scores, reverse=True)


def test_like_pictures_have_like_vectors(pool, photographs):
    from PIL import Image, ImageOps

    mirrored = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(photographs["chelsea"]))).resize((300, 200)).save(mirrored, "JPEG")
    given = [photographs["chelsea"], mirrored.getvalue(), photographs["coffee"], photographs["motorcycle_left"]]
    vectors = np.array([one["embedding"] for one in ask(pool, "embed-image", given)])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.8
    assert likeness[0, 2:].max() < 0.5
    assert np.allclose(vectors[0], ask(pool, "embed-image", given[:1])[0]["embedding"], atol=1e-4)


@pytest.mark.slow
def test_a_vit_of_the_hub_classifies_and_embeds(pool, photographs, tmp_path):
    import torch
    import transformers

    torch.manual_seed(0)
    processor = transformers.ViTImageProcessorPil(size=SQUARE)
    for capability, model, name in (
        (
            "classify-image",
            transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, num_labels=3)),
            "tiny-vit",
        ),
        ("embed-image", transformers.ViTModel(transformers.ViTConfig(**SMALL)), "tiny-vit-model"),
    ):
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        add_local(pool, capability, tmp_path / name)
    both = [photographs["chelsea"], photographs["coffee"]]
    answers = ask(pool, "classify-image", both, {"top_k": 2}, "tiny-vit")
    assert [len(answer["labels"]) for answer in answers] == [2, 2]
    vectors = np.array([one["embedding"] for one in ask(pool, "embed-image", both, {}, "tiny-vit-model")])
    assert vectors.shape == (2, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_clip_of_the_hub_compares_words_with_a_picture(pool, photographs, tmp_path):
    folder = tiny_clip(tmp_path / "tiny-clip")
    model = add_local(pool, "zero-shot-classify-image", folder)
    words = {"labels": ["a cat", "a train", "a cup"]}
    (answer,) = ask(pool, "zero-shot-classify-image", [photographs["chelsea"]], words, model)
    assert {one["label"] for one in answer["labels"]} == set(words["labels"])
    assert sum(one["score"] for one in answer["labels"]) == pytest.approx(1, abs=1e-4)
    assert answer["score"] == answer["labels"][0]["score"]
    for template in ("no place", "two {} {}", "{0} is {}"):
        with pytest.raises(BadInput, match="template"):
            ask(pool, "zero-shot-classify-image", [photographs["chelsea"]], words | {"template": template}, model)


def tiny_clip(folder):
    """A CLIP with random weights and a tokenizer that spells."""
    import torch
    import transformers

    torch.manual_seed(0)
    letters = [*map(chr, range(33, 127))]
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for sign in [*letters, *(f"{letter}</w>" for letter in letters)]:
        vocabulary[sign] = len(vocabulary)
    text = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 77,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    sizes = {
        name: SMALL[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    config = transformers.CLIPConfig(text_config=sizes | text, vision_config=SMALL, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
    pictures = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    transformers.CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_without_a_model_the_command_that_fetches_one_is_told(make_pool, photographs):
    with pytest.raises(
        NotInstalled, match="treadle ready install zero-shot-classify-image --model clip-vit-base-patch32"
    ):
        ask(make_pool(), "zero-shot-classify-image", [photographs["chelsea"]], {"labels": ["a cat"]})


def test_requests_of_the_hub_s_client_are_translated():
    assert ClassifyImage().from_hub(b"p", {"top_k": 2, "function_to_apply": "softmax"}) == ([b"p"], {"top_k": 2})
    with pytest.raises(BadInput, match="function_to_apply"):
        ClassifyImage().from_hub(b"p", {"function_to_apply": "sigmoid"})
    _, words = ZeroShotClassifyImage().from_hub(b"p", {"candidate_labels": ["a"], "hypothesis_template": "A {}"})
    assert words == {"labels": ["a"], "template": "A {}"}
