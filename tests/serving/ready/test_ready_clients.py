"""Clients that people have already, unchanged, against a real server; and our own."""

import json

import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.serving.conftest import _serve
from treadle import Client
from treadle.capabilities import CAPABILITIES, load_capability
from treadle.capabilities.catalog import entries_of
from treadle.capabilities.sources import is_installed
from treadle.client import Refused
from treadle.errors import Unavailable
from treadle.settings import CHECKOUT, Settings

pytestmark = pytest.mark.e2e
GERMAN = "Der Zug nach Wien fährt um neun Uhr."


def needs(capability):
    """Skips where no model is here for what a test asks."""
    here = capability in CAPABILITIES and any(is_installed(e, Settings()) for e in entries_of(capability, Settings()))
    return pytest.mark.skipif(not here, reason=f"no model for {capability} is installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with _serve(Settings(home=tmp_path_factory.mktemp("ready")), TREADLE_READY_MEMORY_MB="4096") as (_, url):
        yield url


@pytest.fixture
def hub(url):
    return lambda capability: InferenceClient(model=f"{url}/v1/ready/{capability}/hf")


@pytest.fixture
def spoken(url):
    return openai.OpenAI(base_url=f"{url}/openai/v1", api_key="none", max_retries=0)


def test_feature_extraction(hub):
    one = hub("embed-text").feature_extraction("A cat sat on the mat.")
    assert one.shape == (384,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4)
    assert hub("embed-text").feature_extraction("A cat sat on the mat.", normalize=True).shape == (384,)


def test_sentence_similarity(hub):
    near, far = hub("similar-items").sentence_similarity("a cat", other_sentences=["a kitten", "tax law"])
    assert near > 0.6 > 0.4 > far


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


MESSAGES = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "The capital of France?"}]


@needs("generate-text")
def test_chat_of_openai(spoken, url):
    said = spoken.chat.completions.create(model="default", messages=MESSAGES, max_tokens=12, temperature=0)
    assert said.choices[0].message.content
    assert said.choices[0].finish_reason in ("stop", "length")
    assert said.usage.completion_tokens <= 12
    chunks = list(
        spoken.chat.completions.create(
            model="default",
            messages=MESSAGES,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == said.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == said.usage.completion_tokens
    for asked in ({"n": 2}, {"tools": [{"type": "function", "function": {"name": "x"}}]}):
        with pytest.raises(openai.BadRequestError):
            spoken.chat.completions.create(model="default", messages=MESSAGES, **asked)


@needs("generate-text")
def test_chat_and_generation_of_the_hub_s_client(hub, url):
    client = InferenceClient(base_url=f"{url}/openai/v1")
    said = client.chat_completion(MESSAGES, max_tokens=8, temperature=0)
    assert said.choices[0].message.content
    pieces = [
        c.choices[0].delta.content for c in client.chat_completion(MESSAGES, max_tokens=8, temperature=0, stream=True)
    ]
    assert "".join(piece or "" for piece in pieces) == said.choices[0].message.content
    whole = hub("generate-text").text_generation("Once upon a time", max_new_tokens=8)
    assert isinstance(whole, str)
    assert list(hub("generate-text").text_generation("Once upon a time", max_new_tokens=8, stream=True))


@needs("transcribe")
def test_transcriptions_of_openai(spoken):
    from tests.treadle.capabilities.test_reading import sound

    file = ("tone.wav", sound(1.0))
    assert isinstance(spoken.audio.transcriptions.create(model="default", file=file).text, str)
    assert isinstance(spoken.audio.transcriptions.create(model="default", file=file, response_format="text"), str)
    assert spoken.audio.transcriptions.create(model="default", file=file, response_format="verbose_json").duration
    assert spoken.audio.transcriptions.create(model="default", file=file, response_format="vtt").startswith("WEBVTT")


@needs("transcribe")
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


@needs("generate-text")
def test_our_own_client_streams(url):
    pieces = list(Client(url).stream_ready("generate-text", "Say hello.", max_tokens=5))
    assert "".join(piece["text"] for piece in pieces)


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
        f"{url}/v1/ready/similar-items", json={"inputs": "x", "parameters": {"items": ["<script>alert(1)</script>"]}}
    )
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
