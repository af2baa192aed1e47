"""A classifier that was trained here answers as a ready model: it fits or says why not, is verified, and its swaps are followed."""

import io
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tests.treadle.capabilities.champions import fit, register, table
from treadle.capabilities.catalog import Entry, TrainedSource, add_entry, entries_of, remove_entry
from treadle.capabilities.limits import BadInput, Limits
from treadle.capabilities.protocol import Weights
from treadle.capabilities.sources import NotInstalled, as_it_is_now, is_installed, locate, pick
from treadle.capabilities.trained import (
    DoesNotFit,
    Head,
    TrainedClassifier,
    column_names,
    embedder_of,
    head_of,
    vectors_of,
)
from treadle.errors import BadData, BrokenBundle, NotFound
from treadle.ledger import Ledger

PLACES = slice(0, 40)
"""Of the vector of 1,280: enough to tell stripes from checks, and quick to fit."""


def entry(capability="classify-image", project="patterns", model=None):
    source = TrainedSource(kind="yours", project=project)
    return Entry(
        capability=capability, model=model or project, version="champion", source=source, licence="yours", size_bytes=0,
        runtime="onnxruntime",
    )  # fmt: skip


def pattern(kind, seed):
    """A picture of stripes or of checks, with some noise, as PNG."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    step = int(rng.integers(6, 20))
    x, y = np.meshgrid(np.arange(96), np.arange(96))
    on = (x // step) % 2 if kind == "stripes" else (x // step + y // step) % 2
    shade = np.clip(on[..., None] * 200 + rng.normal(0, 12, (96, 96, 3)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shade).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def patterns(pool):
    """Vectors of forty pictures, with their labels and the columns' names."""
    labels = ["stripes", "checks"] * 20
    pictures = [pattern(label, seed) for seed, label in enumerate(labels)]
    embedder, asked = pool.ask("embed-image", pictures, {})
    vectors = np.array([one["embedding"] for one in msgspec.msgpack.decode(asked.result(120).answers)])
    return vectors[:, PLACES], np.array(labels), column_names(embedder, vectors.shape[1])[PLACES]


@pytest.fixture
def registered(settings, patterns):
    """A champion of patterns, in the installation's catalog."""
    register(settings, "patterns", 1, table(*patterns))
    add_entry(entry(), settings)
    return settings


def answers(pool, pictures, **parameters):
    said, asked = pool.ask("classify-image", pictures, parameters, model="patterns")
    return said, [one["label"] for one in msgspec.msgpack.decode(asked.result(120).answers)]


def test_it_answers_and_a_new_champion_is_followed(make_pool, registered, patterns):
    vectors, labels, names = patterns
    pool = make_pool(ready_memory_mb=4096)
    pictures = [pattern("stripes", 90), pattern("checks", 91), pattern("stripes", 92)]
    said, first = answers(pool, pictures)
    assert (said.version, said.licence, said.source.kind) == ("1", "yours", "yours")
    assert first == ["stripes", "checks", "stripes"]
    other = np.where(labels == "stripes", "checks", "stripes")  # a champion that has learned the opposite
    register(registered, "patterns", 2, table(vectors, other, names))
    said, second = answers(pool, pictures, top_k=1)
    assert said.version == "2"
    assert second == ["checks", "stripes", "checks"]
    assert len([r for r in pool._runners.values() if r.entry.model == "patterns"]) == 1
    Ledger.open(registered).rollback("patterns")
    assert answers(pool, pictures)[0].version == "1"
    add_entry(entry(model="other-name"), registered)
    pool.ask("classify-image", pictures, {}, model="other-name")[1].result(120)
    assert {r.entry.model for r in pool._runners.values()} == {"patterns", "other-name"}, "one name displaced the other"


def test_a_champion_that_was_changed_is_not_opened(make_pool, registered):
    model = registered.bundles_dir / "patterns" / "1" / "packed.onnx"
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    assert not is_installed(entry(), registered)
    with pytest.raises(BrokenBundle, match="was changed"):
        answers(make_pool(), [pattern("stripes", 1)])
    assert "was changed" in as_it_is_now(entry(), registered).note


def test_it_is_listed_with_its_version_and_is_never_the_default(registered):
    assert is_installed(entry(), registered)
    (mine,) = [e for e in entries_of("classify-image", registered) if e.model == "patterns"]
    now = as_it_is_now(mine, registered)
    assert (now.version, now.licence) == ("1", "yours")
    assert now.size_bytes > 0
    assert pick("classify-image", None, registered)[0].model == "efficientnet-lite0"
    remove_entry("classify-image", "patterns", registered)
    with pytest.raises(NotFound, match="No model of that name"):
        pick("classify-image", "patterns", registered)
    with pytest.raises(NotFound, match="was not added here"):
        remove_entry("classify-image", "efficientnet-lite0", registered)


def test_without_a_champion_it_says_so(settings, patterns):
    add_entry(entry(), settings)
    with pytest.raises(NotFound, match="treadle train patterns"):
        pick("classify-image", "patterns", settings)
    register(settings, "patterns", 1, table(*patterns), promote=False)
    with pytest.raises(NotFound, match="treadle promote patterns"):
        pick("classify-image", "patterns", settings)
    assert not is_installed(entry(), settings)
    assert "treadle promote" in as_it_is_now(entry(), settings).note


def test_what_does_not_fit_says_why(patterns, settings):
    vectors, labels, names = patterns
    manifest, _, _ = fit("patterns", table(vectors, labels, names))
    assert vectors_of("classify-image", "patterns", manifest).embedder == "embed-image"
    with pytest.raises(DoesNotFit, match="classify-text makes them by embed-text"):
        vectors_of("classify-text", "patterns", manifest)
    with pytest.raises(DoesNotFit, match="can be translate"):
        vectors_of("translate", "patterns", manifest)
    numbers, _, _ = fit("patterns", table(vectors, np.arange(40) * 1.5, names), kind="tabular-regression")
    with pytest.raises(DoesNotFit, match="says numbers"):
        vectors_of("classify-image", "patterns", numbers)
    more, _, _ = fit("patterns", table(vectors, labels, names).assign(size=np.linspace(1.5, 9.5, 40)))
    with pytest.raises(DoesNotFit, match="the column 'size'"):
        vectors_of("classify-image", "patterns", more)
    other = [name.replace(name.split(".")[1], "0123456789ab") for name in names]
    mixed, _, _ = fit("patterns", table(vectors, labels, [*names[:20], *other[20:]]))
    with pytest.raises(DoesNotFit, match="two models"):
        vectors_of("classify-image", "patterns", mixed)
    foreign, _, _ = fit("patterns", table(vectors, labels, other))
    with pytest.raises(DoesNotFit, match="0123456789ab, which the catalog does not have"):
        embedder_of("classify-image", "patterns", foreign, settings)


def test_a_champion_that_answers_otherwise_than_at_registration_is_refused(registered, tmp_path):
    now, folder = pick("classify-image", "patterns", registered)
    embedder, content = head_of(now, folder, registered)
    head = msgspec.msgpack.decode(content, type=Head)
    weights = Weights(embedder, locate(embedder, registered), tmp_path, Limits(), content)
    assert TrainedClassifier(weights).labels == ("checks", "stripes")
    wrong = [msgspec.structs.replace(smoke, answer=(0.5, 0.5)) for smoke in head.manifest.smoke]
    changed = Head(msgspec.structs.replace(head.manifest, smoke=tuple(wrong)), head.onnx)
    with pytest.raises(BadData, match="does not give the answers"):
        TrainedClassifier(replace(weights, head=msgspec.msgpack.encode(changed)))


def test_an_embedder_that_went_away_is_named(registered, monkeypatch):
    from treadle.capabilities import sources

    monkeypatch.setattr(sources, "locate", lambda *_: None)
    with pytest.raises(NotInstalled, match="efficientnet-lite0, which 'patterns' learned from"):
        pick("classify-image", "patterns", registered)


def test_texts_are_classified_by_a_champion_with_labels_of_its_own(pool):
    stories = {
        "bank": [
            "The central bank raised its key rate.",
            "Loans become dearer.",
            "The rate was cut by a quarter point.",
        ]
        * 8,
        "kitchen": ["Fry the onions in butter.", "Add salt to the stew.", "Bake the bread for an hour."] * 8,
    }
    texts = [text for some in stories.values() for text in some]
    embedder, asked = pool.ask("embed-text", texts, {})
    vectors = np.array([one["embedding"] for one in msgspec.msgpack.decode(asked.result(120).answers)])[:, PLACES]
    labels = np.repeat(list(stories), 24)
    register(pool.settings, "desk", 1, table(vectors, labels, column_names(embedder, 384)[PLACES]))
    add_entry(entry("classify-text", "desk", "news"), pool.settings)
    said, asked = pool.ask("classify-text", ["Interest rates fell.", "Stir the soup."], {}, model="news")
    found = msgspec.msgpack.decode(asked.result(120).answers)
    assert [one["label"] for one in found] == ["bank", "kitchen"]
    assert sum(one["score"] for one in found[0]["labels"]) == pytest.approx(1)
    assert (said.model, said.version) == ("news", "1")
    with pytest.raises(BadInput, match="labels of its own, and takes no parameters: bank, kitchen"):
        pool.ask("classify-text", ["Interest rates fell."], {"labels": ["a", "b"]}, model="news")[1].result(60)
