"""Embeddings are compared like columns: quiet when quiet, loud when their topics change or they all move."""

from dataclasses import replace

import numpy as np
import pytest

from treadle.drift import judge
from treadle.project import Watch

WIDTH, TOPICS = 64, 8
CENTRES = np.random.default_rng(0).normal(0, 1.5, (TOPICS, WIDTH))


def texts(n, seed, shares=None):
    """Embeddings of texts about some topics, (n, WIDTH)."""
    rng = np.random.default_rng(seed)
    return CENTRES[rng.choice(TOPICS, n, p=shares)] + rng.normal(0, 1, (n, WIDTH))


def found(world, matrix, seed=31):
    reference = replace(world.reference, matrices={"text": texts(2000, 1)})
    window = replace(world.scene(len(matrix), seed).window(), matrices={"text": matrix})
    judged = judge(reference, window, world.columns, Watch())
    return judged.verdict, {f.name for f in judged.findings if f.drifted}


def test_quiet_texts_are_quiet(world):
    assert all(found(world, texts(300, seed), seed) == ("ok", set()) for seed in range(40, 60))


@pytest.mark.parametrize(
    "moved",
    [
        texts(300, 2, [0.5, *[0.5 / 7] * 7]),
        texts(300, 3) + 0.5,
        texts(300, 4) * 1.2,
        np.where(np.random.default_rng(5).random((300, 1)) < 0.3, 3.0, texts(300, 5)),
    ],
    ids=["one topic grows", "all move by half a sigma", "they spread", "a new topic"],
)
def test_moved_texts_are_found(world, moved):
    assert found(world, moved) == ("drift", {"text"})


def test_what_moved_in_texts_is_told_of_groups_and_not_of_categories(world):
    reference = replace(world.reference, matrices={"text": texts(2000, 1)})
    for topic in range(TOPICS):
        shares = np.full(TOPICS, 0.5 / 7)
        shares[topic] = 0.5
        window = replace(world.scene(300, 31).window(), matrices={"text": texts(300, 2, shares)})
        said = [
            f.said for f in judge(reference, window, world.columns, Watch()).findings if f.name == "text" and f.drifted
        ]
        assert said
        assert not any("categor" in words for words in said)


def test_embeddings_that_do_not_fit_are_invalid(world):
    assert found(world, texts(300, 6)[:, :10])[0] == "invalid"
    assert found(world, np.full((300, WIDTH), np.nan))[0] == "invalid"
