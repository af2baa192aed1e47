"""What is installed: the files, and what opens them."""

from treadle.capabilities.catalog import entries_of
from treadle.capabilities.sources import has_package, locate


def test_weights_that_nothing_here_can_open_are_not_installed(settings):
    first = entries_of("detect-faces", settings)[0]
    assert locate(first, settings) is not None
    bare = first.model_copy(update={"source": first.source.model_copy(update={"needs": ("no-such-package",)})})
    assert locate(bare, settings) is None
    assert has_package("msgspec")
    assert not has_package("no-such-package")
