"""Labels by nearness, in a real process."""

import msgspec
import pytest

from treadle.capabilities.classify_text import Classified, ClassifyText
from treadle.capabilities.limits import BadInput

STORY = "The central bank raised its key rate by half a point to fight inflation."
LABELS = ["cooking", "interest rates", "football", "space travel"]


def classify(pool, texts, **parameters):
    _, future = pool.ask("classify-text", texts, parameters)
    return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Classified])


def test_the_nearest_label_wins(pool):
    bank, stew = classify(pool, [STORY, "Fry the onions in butter, then add the stock."], labels=LABELS)
    assert (bank.label, stew.label) == ("interest rates", "cooking")
    assert sum(label.score for label in bank.labels) == pytest.approx(1)
    assert [label.score for label in bank.labels] == sorted((label.score for label in bank.labels), reverse=True)
    several = classify(pool, [STORY], labels=[*LABELS, "economic policy"], multi_label=True)[0]
    likely = {label.label for label in several.labels if label.score > 0.5}
    assert likely == {"interest rates", "economic policy"}


@pytest.mark.parametrize(
    ("texts", "parameters", "why"),
    [
        ([STORY], {}, "labels"),
        ([STORY], {"labels": []}, "length"),
        ([STORY], {"labels": ["a", "a"]}, "twice"),
        ([STORY], {"labels": ["a"], "template": "about it"}, "template"),
        ([" "], {"labels": ["a"]}, "no text"),
    ],
)
def test_what_cannot_be_answered_is_refused(pool, texts, parameters, why):
    with pytest.raises(BadInput, match=why):
        classify(pool, texts, **parameters)


def test_the_hub_s_form():
    capability = ClassifyText()
    asked = {"candidate_labels": ["a"], "hypothesis_template": "Of {}.", "multi_label": True}
    assert capability.from_hub("x", asked) == (["x"], {"labels": ["a"], "template": "Of {}.", "multi_label": True})
    answer = {"label": "a", "score": 1.0, "labels": [{"label": "a", "score": 1.0}]}
    assert capability.to_hub([answer], "x") == [{"label": "a", "score": 1.0}]
