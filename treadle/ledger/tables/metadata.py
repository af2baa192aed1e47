"""What all tables of the ledger share: the schema that they are of, and the kind of numbers that rows are given."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData()
# SQLite numbers rows by itself only for plain INTEGER keys.
Sequence = BigInteger().with_variant(Integer, "sqlite")
