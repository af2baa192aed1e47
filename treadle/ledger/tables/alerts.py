"""Who is told what, and how far it has come."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from treadle.ledger.tables.metadata import Sequence, metadata

# `told` are the findings that a message was made of; `fine` counts the good looks in a row.
alerts = Table(
    "alerts",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("findings", Text, nullable=False),
    Column("told", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("fine", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("raised_us", BigInteger, nullable=False),
    Column("acknowledged_us", BigInteger),
    Column("acknowledged_by", String(128)),
    Column("resolved_us", BigInteger),
    Column("resolved_told", Integer, nullable=False),
    Index(
        "one_open_alert",
        "model",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)
# No model is all models, no kind is all kinds.
alert_silences = Table(
    "alert_silences",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63)),
    Column("kind", String(32)),
    Column("until_us", BigInteger, nullable=False),
    Column("who", String(128), nullable=False),
)
# What is to be carried out: `spread_us` is when it was laid out for each channel.
alert_messages = Table(
    "alert_messages",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("alert", BigInteger, index=True),
    Column("model", String(63)),
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("spread_us", BigInteger),
)
# `held_us` is until when one process tries, and no other does.
alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("message", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", String(63), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("held_us", BigInteger, nullable=False),
    Column("why", String(200)),
    Index("alert_deliveries_by_state", "state", "next_us"),
)
