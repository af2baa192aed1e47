"""The service with its ready models, in this process, and pictures to ask about."""

import io

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from treadle.ledger import Ledger, ReadyCalls
from treadle.settings import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("ready"), allowed_hosts="testserver")


@pytest.fixture(scope="module")
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def calls(settings):
    """Reads the calls that were written down."""
    return ReadyCalls(Ledger.open(settings))


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
