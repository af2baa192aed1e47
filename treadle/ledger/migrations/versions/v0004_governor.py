"""Triggers, slots, and the labels that are set aside; feedback knows the key that gave it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the governor's tables; labels from before have no key and stay where they are."""
    op.add_column("feedback", sa.Column("key_id", sa.String(length=16), nullable=True))
    op.add_column("feedback", sa.Column("vouched", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "set_aside",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("arrived_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["predictions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("set_aside_by_batch", "set_aside", ["model", "batch"], unique=False)
    op.create_table(
        "governors",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("examined_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("model"),
    )
    op.create_table(
        "triggers",
        sa.Column("seq", _SEQUENCE, nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.BigInteger(), nullable=True),
        sa.Column("origin", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("arrived_us", sa.BigInteger(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=True),
        sa.Column("begun_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("triggers_by_state", "triggers", ["model", "state"], unique=False)
    op.create_index("triggers_by_origin", "triggers", ["model", "origin"], unique=False)
    op.create_table(
        "slots",
        sa.Column("flow", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("slot_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("claimed_us", sa.BigInteger(), nullable=False),
        sa.Column("spared", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "model", "slot_us"),
    )
