"""What was registered, which version is champion, and who holds a model at the moment."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from treadle.ledger.tables.metadata import Sequence, metadata

versions = Table(
    "versions",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False),
    Column("bundle", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("family", String(63), nullable=False),
    Column("params", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("data_until_us", BigInteger),
    Column("created_us", BigInteger, nullable=False),
)
champions = Table(
    "champions",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("previous", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)
promotions = Table(
    "promotions",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("from_version", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
leases = Table(
    "leases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("acquired_at_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
