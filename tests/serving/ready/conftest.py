"""The service with its ready models, in this process and as a process of its own, and what it is asked about."""

import io

import openai
import pytest
from huggingface_hub import InferenceClient
from starlette.testclient import TestClient

from serving.app import create_app
from tests.serving.conftest import _serve
from tests.treadle.capabilities.tiny_models import bart, llama, make_entry, marian
from treadle.capabilities.catalog import add_entry
from treadle.ledger import Ledger, ReadyCalls
from treadle.settings import Settings

TINY = {"generate-text": llama, "translate": marian, "summarize": bart}


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("ready"), allowed_hosts="testserver")


@pytest.fixture(scope="session")
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def calls(settings):
    """Reads the calls that were written down."""
    return ReadyCalls(Ledger.open(settings))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """An installation whose defaults for what writes texts are small models of the hub's form."""
    home = tmp_path_factory.mktemp("served")
    for capability, make in TINY.items():
        add_entry(make_entry(capability, make, home / make.__name__, default=True), Settings(home=home))
    return home


@pytest.fixture(scope="session")
def url(home):
    """Where a real server listens; all tests of a process share it, and what it has opened."""
    with _serve(Settings(home=home), TREADLE_READY_MEMORY_MB="6000") as (_, url):
        yield url


@pytest.fixture(scope="session")
def hub(url):
    """Makes the hub's client of a capability."""
    return lambda capability: InferenceClient(model=f"{url}/v1/ready/{capability}/hf")


@pytest.fixture(scope="session")
def spoken(url):
    """OpenAI's client."""
    return openai.OpenAI(base_url=f"{url}/openai/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def invoice():
    """A rendered picture with two lines, as PNG."""
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.new("RGB", (600, 200), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(40)
    pen.text((20, 20), "Invoice 4711", fill="black", font=font)
    pen.text((20, 100), "Total 99.50", fill="black", font=font)
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()
