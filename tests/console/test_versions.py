"""Commands on versions: which of them tell Prefect."""

import pytest

from console import versions
from treadle.ledger import Ledger, Version


@pytest.fixture
def told(settings, monkeypatch):
    """What the running platform was told, of a home with two versions of `shop` and no champion."""
    ledger = Ledger.open(settings)
    for number in (1, 2):
        ledger.add_version(Version("shop", number, f"run{number}", f"b/{number}", "d" * 64, "linear", {}, {}, None))
    told = []
    monkeypatch.setattr(versions, "redeploy", told.append)
    return told


def test_only_the_first_champion_of_a_project_is_told_to_prefect(settings, told):
    assert versions.promote(settings, "shop", 1) == {"project": "shop", "version": 1, "previous": None, "changed": True}
    assert told == [settings]  # its schedules are turned on
    assert versions.promote(settings, "shop", 2)["previous"] == 1
    assert not versions.promote(settings, "shop", 2)["changed"]
    versions.rollback(settings, "shop")
    assert told == [settings]
