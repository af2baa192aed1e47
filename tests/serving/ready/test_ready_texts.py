"""The hub's client, unchanged, asks a real server about texts: what ships, and small models of the hub's form."""

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.serving.conftest import _serve
from tests.serving.ready.test_ready_clients import needs
from tests.treadle.capabilities.tiny_models import bart, marian
from treadle.capabilities.catalog import Entry, HubSource, add_entry
from treadle.settings import Settings

pytestmark = pytest.mark.e2e
TINY = {"translate": marian, "summarize": bart}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An installation whose defaults for what writes texts are small models of the hub's form."""
    home = tmp_path_factory.mktemp("texts")
    for capability, make in TINY.items():
        folder = home / make.__name__
        make(folder)
        source = HubSource(kind="hub", id=str(folder), files=tuple(sorted(path.name for path in folder.iterdir())))
        entry = Entry(
            capability=capability, model=make.__name__, version="1", source=source, licence="MIT", size_bytes=1,
            memory_mb=1000, runtime="transformers", default=True,
        )  # fmt: skip
        add_entry(entry, Settings(home=home))
    return home


@pytest.fixture(scope="module")
def url(home):
    with _serve(Settings(home=home), TREADLE_READY_MEMORY_MB="6000") as (_, url):
        yield url


@pytest.fixture
def hub(url):
    return lambda capability: InferenceClient(model=f"{url}/v1/ready/{capability}/hf")


@needs("analyze-sentiment")
def test_text_classification(hub):
    first, *_ = hub("analyze-sentiment").text_classification("I love this phone, it is wonderful.")
    assert (first.label, first.score > 0.6) == ("positive", True)


@needs("classify-text")
def test_zero_shot_classification(hub):
    story = "The central bank raised its key rate by half a point."
    first, *_ = hub("classify-text").zero_shot_classification(story, candidate_labels=["cooking", "interest rates"])
    assert first.label == "interest rates"
    several = hub("classify-text").zero_shot_classification(
        story, candidate_labels=["cooking", "interest rates"], multi_label=True, hypothesis_template="It is about {}."
    )
    assert [one.label for one in several] == ["interest rates", "cooking"]


@needs("extract-entities")
def test_token_classification(hub):
    found = hub("extract-entities").token_classification("Angela Merkel left for Paris on Monday.")
    assert [(one.word, one.entity_group) for one in found][:2] == [("Angela Merkel", "PERSON"), ("Paris", "GPE")]


def test_translation_and_summarization(hub):
    assert isinstance(hub("translate").translation("the cat sat on the mat").translation_text, str)
    assert isinstance(hub("summarize").summarization("the cat sat on the mat").summary_text, str)
    with pytest.raises(HfHubHTTPError, match="422"):
        hub("translate").translation(" ")
