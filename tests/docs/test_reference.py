"""The generated pages say what the classes say."""

import pytest

from console.reference import pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_page_is_fresh(path):
    assert path.read_text(encoding="utf-8") == pages()[path], "run `make docs`"
