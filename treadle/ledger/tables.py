"""The ledger's tables, one schema for SQLite and PostgreSQL. Times are microseconds since 1970 in UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()
# SQLite numbers rows by itself only for plain INTEGER keys.
Sequence = BigInteger().with_variant(Integer, "sqlite")

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
versions = Table(
    "versions",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False),
    Column("bundle", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("family", String(63), nullable=False),
    Column("params", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("data_until_us", BigInteger),
    Column("created_us", BigInteger, nullable=False),
)
champions = Table(
    "champions",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("previous", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)
promotions = Table(
    "promotions",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("from_version", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
verdicts = Table(
    "verdicts",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("version", Integer),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("labelled", Integer, nullable=False),
    Column("figures", Text, nullable=False),
    Column("report", Text),
    Column("at_us", BigInteger, nullable=False),
)
decisions = Table(
    "decisions",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("arrived_us", BigInteger, nullable=False),
)
leases = Table(
    "leases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("acquired_at_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
costs = Table(
    "costs",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("model", String(63), nullable=False, index=True),
    Column("flow", String(32), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
audit = Table(
    "audit",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("key_id", String(16)),
    Column("who", String(128), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("times", Integer, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
# One row: how long the audit's chain is, and the hash of its last row.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("length", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("projects", Text),
    Column("rows_per_minute", Integer),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
)
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
# What ready models answered; inputs and answers themselves are not kept.
ready_calls = Table(
    "ready_calls",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("id", String(64), nullable=False),
    Column("capability", String(63), nullable=False),
    Column("model", String(63), nullable=False),
    Column("model_version", String(128), nullable=False),
    Column("key_id", String(16)),
    Column("who", String(128), nullable=False),
    Column("client", String(16), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("inputs", Integer, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("confidence", Float),
    Column("facts", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ready_calls_by_time", "capability", "at_us"),
    Index("ready_calls_by_model", "capability", "model", "model_version", "seq"),
)
ready_looks = Table(
    "ready_looks",
    metadata,
    Column("seq", Sequence, primary_key=True),
    Column("capability", String(63), nullable=False),
    Column("model", String(63), nullable=False),
    Column("model_version", String(128), nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("figures", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ready_looks_by_model", "capability", "model", "seq"),
)
