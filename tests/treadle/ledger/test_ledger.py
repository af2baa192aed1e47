"""The ledger as a whole: its schema, what is written down in it, what is removed; on SQLite and on PostgreSQL."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.answered import answered
from tests.treadle.ledger.conftest import NOW, predictions, register
from treadle.errors import Conflict, Unavailable
from treadle.ledger import DecisionRow, Feedback, Ledger, Version
from treadle.ledger.database import HEAD


def test_schema_is_at_head_and_opening_again_changes_nothing(ledger):
    with ledger.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_migration_makes_the_tables_of_the_code(ledger):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from treadle.ledger.tables import metadata

    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_versions_decisions_and_costs_come_back(ledger):
    version = Version("m", 1, "run", "b/m/1", "d" * 64, "linear", {"strength": 1.0}, {"mae": 2.0}, NOW)
    ledger.add_version(version)
    assert ledger.version("m", 1) == version
    with pytest.raises(Conflict):
        ledger.add_version(version)
    ledger.record_decision("m", "skip", "why", {"a": 1}, NOW)
    ledger.record_decision("m", "retrain", "so", {}, NOW)
    assert ledger.last_decisions("m", kind="skip") == [DecisionRow("skip", "why", {"a": 1}, NOW)]
    ledger.record_cost("m", "train", "r", 3.0, 2.0, NOW)
    ledger.record_cost("m", "train", "s", 1.0, 2.0, NOW)
    assert ledger.spent("m", NOW - timedelta(days=1), NOW)["train"] == {"cpu_seconds": 4.0, "seconds": 4.0, "runs": 2}


def test_prune_and_forget(ledger):
    ledger.add_entries(predictions(4))
    ledger.add_feedback("m", [Feedback("p0", 1.0, NOW)])
    register(ledger, 1)
    ledger.promote("m", 1, None, reason="first")
    lease = ledger.acquire("m", "still training", NOW, 60)
    before = datetime.now(UTC)
    ledger.add_entries([answered("late", "m", 1, NOW, "{}", "{}")])
    assert ledger.prune(before) == 4
    assert [row.id for row in ledger.window("m", 9)] == ["late"]
    ledger.forget("m")
    assert ledger.window("m", 9) == []
    assert ledger.champion("m") is None
    assert not ledger.beat(lease)
    assert ledger.acquire("m", "anew", NOW, 60).fence > lease.fence


def test_a_locked_ledger_is_an_outage_and_not_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("treadle.ledger.database.BUSY_MS", 50)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    register(ledger, 1)
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            ledger.add_entries(predictions(1))
        with pytest.raises(Unavailable, match="locked"):
            ledger.promote("m", 1, None, reason="first")
        assert [version.version for version in ledger.versions("m")] == [1]  # readers go on
        other.rollback()
    ledger.add_entries(predictions(1))
    assert ledger.promote("m", 1, None, reason="first").fence == 1


def test_a_database_of_something_else_is_told_in_one_line(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(Unavailable, match="TREADLE_LEDGER_URL"):
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_serving_opens_the_ledger_without_anything_heavy(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger.open(url)
    heavy = ("alembic", "mlflow", "numpy", "pandas", "prefect", "sklearn")
    code = f"import sys; from treadle.ledger import Ledger; Ledger.open({url!r}); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
