"""A pool of ready models in a home of its own."""

from pathlib import Path

import pytest

from treadle.capabilities.pool import Pool
from treadle.settings import Settings


def pytest_collection_modifyitems(items):
    """The tests of a file run in one process, so that its models are opened once."""
    for item in items:
        if Path(__file__).parent == item.path.parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def make_pool(tmp_path):
    """Makes pools; arguments change settings. All of them end with the test."""
    made = []

    def make(**changes):
        pool = Pool(Settings(home=tmp_path, **changes))
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.stop()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """One pool for a file of tests, so that exports are made once."""
    pool = Pool(Settings(home=tmp_path_factory.mktemp("ready"), ready_memory_mb=4096))
    yield pool
    pool.stop()
