"""What was answered, the labels that came of it, and quality by both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, false

from treadle.ledger.tables.metadata import Sequence, metadata

predictions = Table(
    "predictions",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    Column("features", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Index("predictions_by_time", "model", "at_us"),
)
feedback = Table(
    "feedback",
    metadata,
    Column("id", String(128), ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("label", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    # The key that gave it, and whether a person has said that it is right.
    Column("key_id", String(16)),
    Column("vouched", Boolean, nullable=False, server_default=false()),
    Index("feedback_by_time", "model", "at_us"),
)
# Labels that nothing learns from and that count for nothing until a person has said what becomes of them.
set_aside = Table(
    "set_aside",
    metadata,
    Column("id", String(128), ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("label", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    Column("key_id", String(16)),
    Column("batch", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_us", BigInteger, nullable=False),
    Index("set_aside_by_batch", "model", "batch"),
)
# Labels that came before their predictions. Whose prediction it is shows when it comes: hence the model in the key.
early_labels = Table(
    "early_labels",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("model", String(63), primary_key=True),
    Column("label", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    Column("key_id", String(16)),
)
# Quality by prediction time: one row a window, its estimate as it was made before labels came.
quality_windows = Table(
    "quality_windows",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("metric", String(32), primary_key=True),
    Column("from_us", BigInteger, primary_key=True, autoincrement=False),
    Column("to_us", BigInteger, primary_key=True, autoincrement=False),
    Column("answered", Integer, nullable=False),
    Column("labelled", Integer, nullable=False),
    Column("value", Float),
    Column("estimate", Text),
)
# What each look said of quality, as JSON.
quality_looks = Table(
    "quality_looks",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
