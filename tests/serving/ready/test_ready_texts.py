"""The hub's client, unchanged, asks a real server about texts: what ships, and small models of the hub's form."""

import pytest
from huggingface_hub import TextClassificationOutputElement, ZeroShotClassificationOutputElement
from huggingface_hub.errors import HfHubHTTPError

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ready")]
STORY = "The central bank raised its key rate by half a point."


def test_text_classification(hub):
    ranked = hub("analyze-sentiment").text_classification("I love this phone, it is wonderful.")
    assert all(isinstance(one, TextClassificationOutputElement) for one in ranked)
    assert {one.label for one in ranked} == {"positive", "neutral", "negative"}
    assert ranked[0].label == "positive"
    assert ranked[0].score > 0.6
    assert sum(one.score for one in ranked) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("capability", "text", "label"),
    [("analyze-sentiment", "It broke after a day.", "negative"), ("detect-language", "Es hat geregnet.", "de")],
)
def test_text_classification_with_its_parameters(hub, capability, text, label):
    client = hub(capability)
    (likeliest,) = client.text_classification(text, top_k=1, function_to_apply="softmax")
    assert likeliest.label == label
    with pytest.raises(HfHubHTTPError, match="function_to_apply can only be softmax"):
        client.text_classification(text, function_to_apply="sigmoid")
    with pytest.raises(HfHubHTTPError, match="422"):
        client.text_classification(text, top_k=0)


def test_zero_shot_classification(hub):
    labels = ["cooking", "interest rates"]
    ranked = hub("classify-text").zero_shot_classification(STORY, candidate_labels=labels)
    assert all(isinstance(one, ZeroShotClassificationOutputElement) for one in ranked)
    assert [one.label for one in ranked] == ["interest rates", "cooking"]
    assert sum(one.score for one in ranked) == pytest.approx(1, abs=1e-4)
    several = hub("classify-text").zero_shot_classification(
        STORY, candidate_labels=labels, multi_label=True, hypothesis_template="It is about {}."
    )
    assert [one.label for one in several] == ["interest rates", "cooking"]
    assert sum(one.score for one in several) != pytest.approx(1, abs=1e-3)
    for wrong in ({"candidate_labels": []}, {"candidate_labels": labels, "hypothesis_template": "It is about."}):
        with pytest.raises(HfHubHTTPError, match="422"):
            hub("classify-text").zero_shot_classification(STORY, **wrong)


def test_sentence_similarity(hub):
    client = hub("similar-items")
    near, far = client.sentence_similarity("a cat", other_sentences=["a kitten", "tax law"])
    assert near > 0.6 > 0.4 > far
    assert client.sentence_similarity("a cat", other_sentences=["tax law", "a kitten"]) == [far, near]
    for wrong in ([], 17, "a kitten", [17]):
        with pytest.raises(HfHubHTTPError, match="422"):
            client.sentence_similarity("a cat", other_sentences=wrong)


def test_token_classification(hub):
    found = hub("extract-entities").token_classification("Angela Merkel left for Paris on Monday.")
    assert [(one.word, one.entity_group) for one in found][:2] == [("Angela Merkel", "PERSON"), ("Paris", "GPE")]
    assert (found[0].start, found[0].end) == (0, 13)


def test_translation_and_summarization(hub):
    assert isinstance(hub("translate").translation("the cat sat on the mat").translation_text, str)
    assert isinstance(hub("summarize").summarization("the cat sat on the mat").summary_text, str)
    with pytest.raises(HfHubHTTPError, match="422"):
        hub("translate").translation(" ")
