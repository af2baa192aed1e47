"""Clients that people have already, unchanged, against a real server; and our own."""

import json

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from treadle import Client
from treadle.capabilities import CAPABILITIES, load_capability
from treadle.client import Refused
from treadle.errors import Unavailable
from treadle.settings import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ready")]
GERMAN = "Der Zug nach Wien fährt um neun Uhr."
CHAT = [{"role": "system", "content": "the cat sat"}, {"role": "user", "content": "the dog sat on the mat"}]


def test_feature_extraction(hub):
    one = hub("embed-text").feature_extraction("A cat sat on the mat.")
    assert one.shape == (384,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4)
    assert hub("embed-text").feature_extraction("A cat sat on the mat.", normalize=True).shape == (384,)


def test_text_classification(hub):
    first, *_ = hub("detect-language").text_classification(GERMAN, top_k=2)
    assert first.label == "de"
    assert first.score > 0.5


def test_image_to_text_by_bytes_and_path(hub, invoice, tmp_path):
    path = tmp_path / "invoice.png"
    path.write_bytes(invoice)
    for picture in (invoice, path):
        assert hub("read-text").image_to_text(picture).generated_text == "Invoice 4711\nTotal 99.50"


def test_errors_of_the_hub_s_client_say_why(hub):
    with pytest.raises(HfHubHTTPError, match="422"):
        hub("read-text").image_to_text(b"no picture")
    with pytest.raises(HfHubHTTPError, match="404"):
        hub("read-minds").image_to_text(b"no picture")


def test_embeddings_of_openai(spoken):
    made = spoken.embeddings.create(model="all-minilm-l6-v2", input=["a cat", "a kitten", "tax law"])
    vectors = np.array([row.embedding for row in made.data])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert made.usage.total_tokens > 6
    plain = spoken.embeddings.create(model="embed-text", input="a cat", encoding_format="float").data[0].embedding
    assert np.allclose(plain, vectors[0], atol=1e-3)


def test_models_and_errors_of_openai(spoken):
    names = [model.id for model in spoken.models.list()]
    assert "all-minilm-l6-v2" in names
    assert spoken.models.retrieve("all-minilm-l6-v2").owned_by == "Apache-2.0"
    with pytest.raises(openai.NotFoundError):
        spoken.models.retrieve("gpt-9")
    with pytest.raises(openai.NotFoundError):
        spoken.embeddings.create(model="gpt-9", input="x")
    with pytest.raises(openai.BadRequestError, match="384 dimensions"):
        spoken.embeddings.create(model="embed-text", input="x", dimensions=7)
    with pytest.raises(openai.BadRequestError):
        spoken.embeddings.create(model="embed-text", input=[1, 2, 3])
    with pytest.raises(openai.APIStatusError, match="413"):
        spoken.embeddings.create(model="embed-text", input="x" * 200_000)


def test_chat_of_openai(spoken):
    asked = {"model": "default", "messages": CHAT, "max_tokens": 12, "temperature": 0}
    said = spoken.chat.completions.create(**asked)
    assert said.choices[0].message.content
    assert said.choices[0].finish_reason in ("stop", "length")
    assert 0 < said.usage.completion_tokens <= 12
    with spoken.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(texts) > 1
    assert "".join(texts) == said.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == said.usage.completion_tokens
    assert {chunk.model for chunk in chunks} == {"llama"}


@pytest.mark.parametrize(
    "more",
    [{"n": 2}, {"tools": [{"type": "function", "function": {"name": "x"}}]}, {"logprobs": True},
     {"response_format": {"type": "json_object"}}, {"frequency_penalty": 1.0}, {"presence_penalty": -1.0}, {"logit_bias": {"1": 5}}],
)  # fmt: skip
def test_what_a_chat_of_openai_cannot_be_asked_is_refused(spoken, more):
    with pytest.raises(openai.BadRequestError, match=next(iter(more))):
        spoken.chat.completions.create(model="default", messages=CHAT, **more)


def test_an_openai_stream_that_nobody_reads_to_its_end_leaves_the_model_free(spoken):
    asked = {"model": "default", "messages": CHAT, "max_tokens": 100, "temperature": 0}
    with spoken.chat.completions.create(**asked, stream=True) as stream:
        next(iter(stream))
    assert spoken.chat.completions.create(**asked | {"max_tokens": 1}, timeout=30).choices[0].message


def test_chat_of_the_hub_s_client(url):
    client = InferenceClient(base_url=f"{url}/openai/v1")
    said = client.chat_completion(CHAT, max_tokens=8, temperature=0)
    assert said.choices[0].message.content
    streamed = list(client.chat_completion(CHAT, max_tokens=8, temperature=0, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == said.choices[0].message.content
    assert streamed[-1].choices[0].finish_reason == said.choices[0].finish_reason
    assert len(streamed) > 2


def test_text_generation_of_the_hub_s_client(hub):
    client = hub("generate-text")  # held, since it closes its streams when nobody holds it any more
    whole = client.text_generation("the cat", max_new_tokens=8, do_sample=False)
    pieces = list(client.text_generation("the cat", max_new_tokens=8, do_sample=False, stream=True))
    assert len(pieces) > 1
    assert "".join(pieces) == whole != ""


def test_transcriptions_of_openai(spoken):
    from tests.treadle.capabilities.test_reading import sound

    file = ("tone.wav", sound(1.0))
    assert isinstance(spoken.audio.transcriptions.create(model="default", file=file).text, str)
    assert isinstance(spoken.audio.transcriptions.create(model="default", file=file, response_format="text"), str)
    assert spoken.audio.transcriptions.create(model="default", file=file, response_format="verbose_json").duration
    assert spoken.audio.transcriptions.create(model="default", file=file, response_format="vtt").startswith("WEBVTT")


def test_what_is_said_by_openai_s_and_the_hub_s_client(spoken, hub):
    path = CHECKOUT / "tests" / "sounds" / "austen-0930.flac"
    words = "He might even have been made amiable himself."
    said = spoken.audio.transcriptions.create(model="whisper-tiny.en", file=path, response_format="verbose_json")
    assert (said.text, said.language, said.segments[0].text) == (words, "en", words)
    assert 2 < said.segments[0].end <= said.duration == 3.29
    with pytest.raises(openai.APIStatusError, match="the model knows en"):
        spoken.audio.transcriptions.create(model="default", file=path, language="de")
    assert "whisper-tiny.en" in [model.id for model in spoken.models.list()]
    heard = hub("transcribe").automatic_speech_recognition(path)
    assert heard.text == words
    assert heard.chunks[0].timestamp[1] > 2
    by_word = {"return_timestamps": "word"}
    assert len(hub("transcribe").automatic_speech_recognition(path, extra_body=by_word).chunks) == 8


def test_times_of_words_or_of_segments_of_openai(spoken):
    file = CHECKOUT / "tests" / "sounds" / "austen-0930.flac"

    def heard(times, form="verbose_json", **more):
        asked = {"model": "default", "file": file, "response_format": form, "timestamp_granularities": times} | more
        return spoken.audio.transcriptions.create(**asked)

    said = heard(["word"])
    assert [one.word for one in said.words] == said.text.split()
    assert all(0 <= one.start <= one.end <= said.duration for one in said.words)
    assert said.segments is None
    assert heard(["segment"]).segments[0].text == said.text
    for wrong, why in (
        ({"times": ["word", "segment"]}, "one of segment and word"),
        ({"times": ["letter"]}, "segment or word"),
        ({"times": ["word"], "form": "json"}, "verbose_json"),
        ({"times": ["word"], "stream": True}, "does not stream"),
        ({"times": ["word"], "prompt": "Pemberley"}, "`prompt` is not spoken"),
        ({"times": ["word"], "temperature": 0.7}, "must be 0"),
    ):
        with pytest.raises(openai.BadRequestError, match=why):
            heard(**wrong)


def test_our_own_client(url, invoice, tmp_path):
    client = Client(url)
    path = tmp_path / "invoice.png"
    path.write_bytes(invoice)
    assert {row["capability"] for row in client.capabilities()} == set(CAPABILITIES)
    assert client.ready("detect-language", GERMAN)[0]["language"] == "de"
    assert [answer["text"] for answer in client.ready("read-text", [path, invoice])] == [
        "Invoice 4711\nTotal 99.50"
    ] * 2
    said = client.ask_ready("similar-items", "a cat", items=["a kitten", "tax law"], top_k=1)
    assert (said["answers"][0]["similar"][0]["item"], said["licence"]) == ("a kitten", "Apache-2.0")
    with pytest.raises(Refused, match="unknown field") as refused:
        client.ready("detect-language", GERMAN, languages=3)
    assert refused.value.status == 422
    with pytest.raises(Refused, match="does not stream"):
        next(client.stream_ready("detect-language", GERMAN))
    with pytest.raises(Unavailable):
        Client("http://127.0.0.1:1").capabilities()


def test_our_own_client_streams(url):
    pieces = list(Client(url).stream_ready("generate-text", "the cat sat", max_tokens=5, temperature=0))
    assert "".join(piece["text"] for piece in pieces)


@pytest.mark.slow
def test_every_capability_of_the_table_answers_over_http(url):
    from tests.contract.test_capabilities import READY, given

    client = Client(url)
    for name in READY:
        capability = load_capability(name)
        answer = client.ready(name, given(capability), **dict(capability.example))
        json.dumps(answer)
        assert len(answer) == 1


def test_what_is_generated_is_never_html(url):
    reply = httpx.post(
        f"{url}/v1/ready/similar-items",
        json={"inputs": "x", "parameters": {"items": ["<script>alert(1)</script>"]}},
        timeout=60,
    )
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
