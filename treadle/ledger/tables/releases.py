"""Versions that are tried on live requests, and what was seen of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text, text

from treadle.ledger.tables.metadata import Sequence, metadata

releases = Table(
    "releases",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("share", Float, nullable=False),
    Column("salt", String(32), nullable=False),
    Column("rules", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("reason", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("who", String(128), nullable=False),
    # Who judges it now, and until when nobody else does.
    Column("judge", String(64)),
    Column("judge_until_us", BigInteger, nullable=False),
    Index(
        "one_running_release",
        "model",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)
# What one worker saw of a release in one minute (minutes since 1970 in UTC); sketches are JSON.
release_evidence = Table(
    "release_evidence",
    metadata,
    Column("release", BigInteger, primary_key=True, autoincrement=False),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("worker", String(64), primary_key=True),
    Column("answers", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("timeouts", BigInteger, nullable=False),
    Column("nonfinite", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),
    Column("disagreements", BigInteger, nullable=False),
    Column("difference", Float, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("champion", Text, nullable=False),
)
# No foreign key to predictions: theirs may still be in the journal.
shadow_answers = Table(
    "shadow_answers",
    metadata,
    Column("release", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(128), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    Index("shadow_answers_by_id", "id"),
    Index("shadow_answers_by_time", "model", "arrived_us"),
)
