"""Models of the hub's form, one small random one of each architecture, saved here as they come: they answer in real processes."""

import msgspec
import pytest

from tests.treadle.capabilities.tiny_models import bart, distilbert, gpt2, llama, make_entry, marian, nli, t5, tagger
from treadle.capabilities import load_capability
from treadle.capabilities.catalog import add_entry
from treadle.capabilities.limits import BadInput

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def ask(pool, tmp_path_factory):
    """Asks a model that a function makes, of one capability."""
    root = tmp_path_factory.mktemp("tiny")

    def answers(capability, make, inputs, on_piece=None, **parameters):
        entry = make_entry(capability, make, root / make.__name__)
        add_entry(entry, pool.settings)
        _, future = pool.ask(capability, inputs, parameters, model=entry.model, on_piece=on_piece)
        kind = load_capability(capability).Answer
        return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[kind])

    return answers


def test_distilbert_tells_sentiments(ask):
    (said,) = ask("analyze-sentiment", distilbert, [TEXT])
    assert {label.label for label in said.labels} == {"NEGATIVE", "POSITIVE"}
    assert sum(label.score for label in said.labels) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_bert_judges_entailment(ask):
    one, several = ask("classify-text", nli, [TEXT, "dog"], labels=["cat", "dog", "mat"])
    assert {label.label for label in one.labels} == {"cat", "dog", "mat"}
    assert sum(label.score for label in several.labels) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_bert_tags_tokens(ask):
    (said,) = ask("extract-entities", tagger, [TEXT])
    assert said.entities
    for entity in said.entities:
        assert TEXT[entity.start : entity.end] == entity.text
        assert entity.label in ("PER", "LOC")
        assert 0 < entity.score <= 1
    with pytest.raises(BadInput, match="LOC, PER"):
        ask("extract-entities", tagger, [TEXT], labels=["DRAGON"])


@pytest.mark.slow
def test_marian_and_t5_translate(ask):
    (said,) = ask("translate", marian, [TEXT])
    assert isinstance(said.text, str)
    ask("translate", t5, [TEXT], source="en", target="de")
    with pytest.raises(BadInput, match="en, de, fr, ro"):
        ask("translate", t5, [TEXT])


@pytest.mark.slow
def test_bart_and_t5_summarize(ask):
    for make in (bart, t5):
        (said,) = ask("summarize", make, [TEXT], max_tokens=5)
        assert not said.extractive


@pytest.mark.slow
def test_gpt2_goes_on_and_llama_chats(ask):
    (said,) = ask("generate-text", gpt2, [TEXT], max_tokens=6, temperature=0)
    assert said.tokens_out <= 6
    assert said.tokens_in == 6
    chat = [{"role": "user", "content": TEXT}]
    (said,) = ask("generate-text", llama, [chat], max_tokens=6, temperature=0)
    assert said.tokens_in > 6
    pieces = []
    ask("generate-text", llama, [chat], on_piece=pieces.append, max_tokens=6, temperature=0)
    assert "".join(msgspec.msgpack.decode(piece)["text"] for piece in pieces) == said.text
    drawn = [ask("generate-text", gpt2, [TEXT], max_tokens=8, temperature=2, seed=seed)[0].text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
