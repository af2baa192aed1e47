"""Labels that came before their predictions; quality by prediction time, with its estimates; what each look said of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "early_labels",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("arrived_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id", "model"),
    )
    op.create_table(
        "quality_windows",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("from_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("to_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("labelled", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("estimate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model", "metric", "from_us", "to_us"),
    )
    op.create_table(
        "quality_looks",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_quality_looks_model"), "quality_looks", ["model"], unique=False)
