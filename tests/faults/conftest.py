"""Fixtures of the fault tests, and their table at the end of a run.

`FAULTS_LONG=1` (`make faults`) makes every test try as often as its figure promises; without it each is a short slice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.faults.examiner import SECRET, Examiner, examining, present
from tests.faults.installation import Installation, installation_of
from tests.faults.postgresql import Postgresql, programs
from tests.faults.report import Row, Table
from tests.faults.routes import Route
from tests.faults.service import Service
from treadle.settings import CHECKOUT

Served = tuple[Installation, Service, list[Route]]
LONG = os.environ.get("FAULTS_LONG") == "1"
SOAKS = "SOAK_MINUTES" in os.environ
TABLE = pytest.StashKey[Table]()
PASSED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fault tests run one after another, since they measure, and may take their time in the long form."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("faults"))
            item.add_marker(pytest.mark.timeout(3600 if LONG else 180))


def pytest_configure(config: pytest.Config) -> None:
    """One table for the run."""
    config.stash[TABLE] = Table()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember how the test itself ended, for the row that it opened."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and write it as JSON."""
    table = config.stash[TABLE]
    if not table.rows:
        return
    terminalreporter.section("faults")
    for line in table.text():
        terminalreporter.write_line(line)
    if LONG or SOAKS:
        path = Path(os.environ.get("FAULTS_JSON", CHECKOUT / ".treadle" / ("soak.json" if SOAKS else "faults.json")))
        table.write(path)
        terminalreporter.write_line(f"as JSON: {path}")


@pytest.fixture
def much():
    """`much(short, long)`: how much of something this run shall try."""
    return lambda short, long: long if LONG else short


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """This test's row of the table, named by the first line of its docstring."""
    row = request.config.stash[TABLE].open((request.node.function.__doc__ or request.node.name).splitlines()[0])
    yield row
    row.close(request.node.stash.get(PASSED, False))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation that serves version 1."""
    return installation_of(tmp_path)


@pytest.fixture
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL of this test's own."""
    found = programs()
    if found is None:
        pytest.skip("there is no PostgreSQL here")
    server = Postgresql(found)
    yield server
    server.remove()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An installation, its service, and the routes that it has; a secret lies where only `..` leads."""
    installation = installation_of(tmp_path_factory.mktemp("served"))
    for folder in (installation.settings.home, installation.settings.state_dir):
        (folder / "secret.txt").write_text(SECRET)
    with Service(installation.settings, TREADLE_MESSAGE_S="10") as service:
        yield installation, service, present(service)


@pytest.fixture
def examine(served: Served, row: Row) -> Callable[[], AbstractContextManager[Examiner]]:
    """`with examine() as examiner`: at the end, every answer was as it must be, and the service is well."""
    return partial(examining, *served, row)
