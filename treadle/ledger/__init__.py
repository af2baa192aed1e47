"""The ledger: predictions, labels, champions, verdicts, decisions and costs, in one SQL database."""

from treadle.ledger.alerts import Alert, AlertBook
from treadle.ledger.drain import Drain, carried_before
from treadle.ledger.journal import Entry, Exchange, Journal, on_their_way
from treadle.ledger.ledger import Ledger
from treadle.ledger.quality import QualityRows
from treadle.ledger.ready import ANSWERED, ReadyCall, ReadyCalls, ReadyLook, ReadyVersion
from treadle.ledger.records import (
    Champion,
    Counts,
    DecisionRow,
    Feedback,
    Lease,
    Promotion,
    QualityWindow,
    Release,
    Row,
    VerdictRow,
    Version,
)
from treadle.ledger.releases import Releases, ShadowAnswer

__all__ = [
    "ANSWERED",
    "Alert",
    "AlertBook",
    "Champion",
    "Counts",
    "DecisionRow",
    "Drain",
    "Entry",
    "Exchange",
    "Feedback",
    "Journal",
    "Lease",
    "Ledger",
    "Promotion",
    "QualityRows",
    "QualityWindow",
    "ReadyCall",
    "ReadyCalls",
    "ReadyLook",
    "ReadyVersion",
    "Release",
    "Releases",
    "Row",
    "ShadowAnswer",
    "VerdictRow",
    "Version",
    "carried_before",
    "on_their_way",
]
