"""Fixtures of the fault tests, and their table at the end of a run.

`FAULTS_LONG=1` (`make faults`) makes every test try as often as its figure promises; without it each is a short slice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.installation import Installation
from tests.faults.report import Row, Table
from treadle.settings import CHECKOUT

LONG = os.environ.get("FAULTS_LONG") == "1"
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
    if LONG:
        path = Path(os.environ.get("FAULTS_JSON", CHECKOUT / ".treadle" / "faults.json"))
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
    made = Installation(tmp_path)
    made.register(1)
    made.promote(1)
    return made
