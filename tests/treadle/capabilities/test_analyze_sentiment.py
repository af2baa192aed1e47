"""Sentiments by the head that ships, and by the lexicon, in real processes."""

import msgspec
import numpy as np
import pytest

from treadle.capabilities.analyze_sentiment import HEAD, AnalyzeSentiment, Head
from treadle.capabilities.classify_text import Classified
from treadle.capabilities.limits import BadInput

GOOD = "I love this phone, the screen is gorgeous and it never lets me down."
BAD = "Terrible service, the food was cold and the waiter was rude to us."
PLAIN = "The meeting is on Tuesday in room four."
ASLEEP = "I fell asleep after twenty minutes of this film."


def sentiments(pool, texts, model=None):
    _, future = pool.ask("analyze-sentiment", texts, {}, model=model)
    return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Classified])


def test_the_head_and_the_lexicon_know_plain_cases(pool):
    for model in (None, "vader"):
        said = sentiments(pool, [GOOD, BAD, PLAIN], model)
        assert [one.label for one in said] == ["positive", "negative", "neutral"]
        for one in said:
            assert sum(label.score for label in one.labels) == pytest.approx(1, abs=1e-5)
            assert one.score == max(label.score for label in one.labels)


def test_the_head_knows_what_the_lexicon_does_not(pool):
    assert sentiments(pool, [ASLEEP])[0].label == "negative"
    assert sentiments(pool, [ASLEEP], "vader")[0].label == "neutral"


def test_an_empty_text_is_refused(pool):
    with pytest.raises(BadInput, match="no text"):
        sentiments(pool, [GOOD, "  "], "vader")


def test_the_head_sees_vectors_and_measures():
    head = Head(HEAD)
    nothing = head.scores(np.zeros((2, 384)), np.zeros((2, 4)))
    praised = head.scores(np.zeros((1, 384)), np.array([[0, 0.2, 0.8, 0.95]]))
    assert nothing.shape == (2, 3)
    assert nothing.sum(axis=1) == pytest.approx([1, 1])
    assert praised[0, 2] > nothing[0, 2] > praised[0, 0]


def test_the_hub_s_form():
    capability = AnalyzeSentiment()
    assert capability.from_hub("a text", {"top_k": 2}) == (["a text"], {"top_k": 2})
    answer = {"label": "positive", "score": 0.9, "labels": [{"label": "positive", "score": 0.9}]}
    assert capability.to_hub([answer], "a text") == [[{"label": "positive", "score": 0.9}]]
    assert capability.to_hub([answer], ["a text"]) == [[{"label": "positive", "score": 0.9}]]
