"""Sentences that say most, taken out in a real process; and the arithmetic."""

import msgspec
import numpy as np
import pytest

from treadle.capabilities.limits import BadInput, TooMuch
from treadle.capabilities.summarize import MOST_SENTENCES, Summary, central, split, take

STORY = (
    "The city council voted on Monday to close the old bridge to cars. "
    "The bridge, built in 1911, had become unsafe for traffic, the city's engineers said. "
    "My aunt likes marmalade. "
    "Cars will use the new bridge two miles north, and the council will repair the old bridge for cyclists. "
    'Repairs to the old bridge cost "nine million dollars." '
    "It was sunny."
)


def summarize(pool, texts, **parameters):
    _, future = pool.ask("summarize", texts, parameters)
    return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Summary])


def test_what_is_taken_stands_in_the_text_and_says_most(pool):
    long, short = summarize(pool, [STORY, "It rained."], sentences=3)
    taken = split(long.text)
    assert len(taken) == 3
    assert all(sentence in STORY for sentence in taken)
    assert [STORY.index(sentence) for sentence in taken] == sorted(STORY.index(sentence) for sentence in taken)
    assert all("bridge" in sentence for sentence in taken)
    assert long.extractive
    assert short.text == "It rained."


def test_what_cannot_be_summarized_is_refused(pool):
    with pytest.raises(BadInput, match="no text"):
        summarize(pool, ["\n"])
    with pytest.raises(TooMuch, match="sentences"):
        summarize(pool, ["No. " * (MOST_SENTENCES + 1)])


def test_sentences_keep_their_quotes():
    assert split('He said "No." Then he left.') == ['He said "No."', "Then he left."]
    assert split("It cost 3.5 dollars\nin all.") == ["It cost 3.5 dollars in all."]
    assert split("") == []


def test_the_middle_is_central_and_the_same_is_taken_once():
    middle, side, other = np.array([1, 1, 0]) / np.sqrt(2), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    vectors = np.stack([side, middle, other, np.array([0, 0, 1.0])])
    scores = central(vectors @ vectors.T)
    assert scores.sum() == pytest.approx(1)
    assert scores.argmax() == 1
    assert take(vectors, 1) == [1]
    assert take(np.stack([middle, middle, side]), 3) == [0, 2]
