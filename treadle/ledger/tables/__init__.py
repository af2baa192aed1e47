"""The ledger's tables, one schema for SQLite and PostgreSQL. Times are microseconds since 1970 in UTC.

A module a concern. Whoever imports one table has them all in `metadata`.
"""

from __future__ import annotations

from treadle.ledger.tables.access import audit, audit_head, keys
from treadle.ledger.tables.alerts import alert_deliveries, alert_messages, alert_silences, alerts
from treadle.ledger.tables.answers import early_labels, feedback, predictions, quality_looks, quality_windows, set_aside
from treadle.ledger.tables.logbook import costs, decisions, verdicts
from treadle.ledger.tables.metadata import metadata
from treadle.ledger.tables.ready import ready_calls, ready_looks
from treadle.ledger.tables.releases import release_evidence, releases, shadow_answers
from treadle.ledger.tables.retraining import governors, slots, triggers
from treadle.ledger.tables.versions import champions, leases, promotions, versions

__all__ = [
    "alert_deliveries",
    "alert_messages",
    "alert_silences",
    "alerts",
    "audit",
    "audit_head",
    "champions",
    "costs",
    "decisions",
    "early_labels",
    "feedback",
    "governors",
    "keys",
    "leases",
    "metadata",
    "predictions",
    "promotions",
    "quality_looks",
    "quality_windows",
    "ready_calls",
    "ready_looks",
    "release_evidence",
    "releases",
    "set_aside",
    "shadow_answers",
    "slots",
    "triggers",
    "verdicts",
    "versions",
]
