"""Who wished to retrain and what became of it; which scheduled run was the one of its moment."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from treadle.ledger.tables.metadata import Sequence, metadata

# One row a model: whoever decides about it holds this row, so that decisions follow one after another.
governors = Table(
    "governors",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("turns", BigInteger, nullable=False),
    # Event time up to which labels were looked at for suspects.
    Column("examined_us", BigInteger),
)
# Every wish to retrain and what became of it.
triggers = Table(
    "triggers",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("said", Text, nullable=False),
    Column("champion", Integer),
    Column("state", String(16), nullable=False),
    Column("rule", String(32)),
    Column("reason", Text, nullable=False),
    # The trigger that was granted for this one too.
    Column("answer", BigInteger),
    # The run that wished, and the train run that began for it.
    Column("origin", String(64)),
    Column("run_id", String(64)),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
    # Wall-clock times: when a train run was asked for last, and when one began.
    Column("asked_us", BigInteger),
    Column("begun_us", BigInteger),
    Index("triggers_by_state", "model", "state"),
    Index("triggers_by_origin", "model", "origin"),
)
# Which scheduled run was the one of its moment; `claimed_us` is never before `slot_us`.
slots = Table(
    "slots",
    metadata,
    Column("flow", String(32), primary_key=True),
    Column("model", String(63), primary_key=True),
    Column("slot_us", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False),
    Column("claimed_us", BigInteger, nullable=False),
    Column("spared", Integer, nullable=False),
)
