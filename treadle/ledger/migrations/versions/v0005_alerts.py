"""Alerts, silences, messages and their deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make their tables; at most one alert of a model, kind and subject is open."""
    op.create_table(
        "alerts",
        sa.Column("seq", _ID, nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("fine", sa.Integer(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("raised_us", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_us", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=128), nullable=True),
        sa.Column("resolved_us", sa.BigInteger(), nullable=True),
        sa.Column("resolved_told", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_alerts_model"), "alerts", ["model"], unique=False)
    is_open = sa.text("state = 'open'")
    columns = ["model", "kind", "subject"]
    op.create_index("one_open_alert", "alerts", columns, unique=True, sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "alert_silences",
        sa.Column("seq", _ID, nullable=False),
        sa.Column("model", sa.String(length=63), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=True),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "alert_messages",
        sa.Column("seq", _ID, nullable=False),
        sa.Column("alert", sa.BigInteger(), nullable=True),
        sa.Column("model", sa.String(length=63), nullable=True),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("spread_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_alert_messages_alert"), "alert_messages", ["alert"], unique=False)
    op.create_table(
        "alert_deliveries",
        sa.Column("message", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("held_us", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("message", "channel"),
    )
    op.create_index("alert_deliveries_by_state", "alert_deliveries", ["state", "next_us"], unique=False)
