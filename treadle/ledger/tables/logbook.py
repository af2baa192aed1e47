"""What was found, what was decided, and what it cost."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, String, Table, Text

from treadle.ledger.tables.metadata import Sequence, metadata

verdicts = Table(
    "verdicts",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("labelled", Integer, nullable=False),
    Column("figures", Text, nullable=False),
    Column("report", Text),
    Column("at_us", BigInteger, nullable=False),
)
decisions = Table(
    "decisions",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
)
costs = Table(
    "costs",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("flow", String(32), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
