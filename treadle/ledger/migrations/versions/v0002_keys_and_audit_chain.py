"""Keys, and an audit whose rows are chained by their hashes; rows from before become the chain's beginning."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FIELDS = ("at_us", "key_id", "who", "what", "subject", "outcome", "times", "before", "after")
_REFUSE_ON_SQLITE = "CREATE TRIGGER audit_keeps_{what} BEFORE {what} ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
_REFUSE_ON_POSTGRESQL = (
    "CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
    "CREATE TRIGGER audit_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()",
)


def upgrade() -> None:
    """Make the keys, make the audit anew with what was in it, and refuse changes of its rows."""
    connection = op.get_bind()
    old = connection.execute(sa.text('SELECT at_us, who, what, subject, "before", "after" FROM audit ORDER BY seq'))
    rows = _chained([dict(row._mapping) for row in old])
    op.drop_table("audit")
    audit = _make_audit()
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if rows:
        op.bulk_insert(audit, rows)
    op.bulk_insert(head, [{"id": 1, "length": len(rows), "hash": rows[-1]["hash"] if rows else ""}])
    _make_keys()
    if connection.dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(_REFUSE_ON_SQLITE.format(what=what))
    else:
        for statement in _REFUSE_ON_POSTGRESQL:
            op.execute(statement)


def _make_audit() -> sa.Table:
    return op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )


def _make_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("projects", sa.Text(), nullable=True),
        sa.Column("rows_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def _chained(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Old rows with their places in the chain; the hash is that of `treadle.ledger.audit` at this revision."""
    made: list[dict[str, object]] = []
    for seq, row in enumerate(rows, 1):
        full = {**row, "key_id": None, "outcome": "allowed", "times": 1}
        prev = made[-1]["hash"] if made else ""
        text = json.dumps([prev, seq, *(full[name] for name in _FIELDS)], ensure_ascii=True, separators=(",", ":"))
        made.append({"seq": seq, **full, "prev_hash": prev, "hash": hashlib.sha256(text.encode()).hexdigest()})
    return made
