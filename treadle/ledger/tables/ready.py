"""What ready models were asked, and what the looks at them found."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text

from treadle.ledger.tables.metadata import Sequence, metadata

# What ready models answered; inputs and answers themselves are not kept.
ready_calls = Table(
    "ready_calls",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("id", String(64), nullable=False),
    Column("capability", String(63), nullable=False),
    Column("model", String(63), nullable=False),
    Column("model_version", String(128), nullable=False),
    Column("key_id", String(16)),
    Column("who", String(128), nullable=False),
    Column("client", String(16), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("inputs", Integer, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("confidence", Float),
    Column("facts", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ready_calls_by_time", "capability", "at_us"),
    Index("ready_calls_by_model", "capability", "model", "model_version", "seq"),
)
ready_looks = Table(
    "ready_looks",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("capability", String(63), nullable=False),
    Column("model", String(63), nullable=False),
    Column("model_version", String(128), nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ready_looks_by_model", "capability", "model", "seq"),
)
