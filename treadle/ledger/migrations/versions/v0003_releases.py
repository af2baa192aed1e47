"""Releases, what was seen of them, and the answers of shadows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COUNTS = ("answers", "rows", "errors", "timeouts", "nonfinite", "dropped", "compared", "disagreements")


def upgrade() -> None:
    """Make their tables; at most one release of a model runs."""
    op.create_table(
        "releases",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("judge", sa.String(length=64), nullable=True),
        sa.Column("judge_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_releases_model"), "releases", ["model"], unique=False)
    running = sa.text("state = 'running'")
    op.create_index(
        "one_running_release", "releases", ["model"], unique=True, sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "release_evidence",
        sa.Column("release", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.Column("difference", sa.Float(), nullable=False),
        sa.Column("candidate", sa.Text(), nullable=False),
        sa.Column("champion", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release", "minute", "worker"),
    )
    op.create_table(
        "shadow_answers",
        sa.Column("release", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("arrived_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("release", "id"),
    )
    op.create_index("shadow_answers_by_id", "shadow_answers", ["id"], unique=False)
    op.create_index("shadow_answers_by_time", "shadow_answers", ["model", "arrived_us"], unique=False)
