"""Quality in the ledger: counts by span, rows without what is not needed, windows kept over, looks; on both databases."""

from datetime import UTC, datetime, timedelta

from tests.answered import answered
from treadle.ledger import Feedback, QualityRows, QualityWindow

MONDAY = datetime(2011, 4, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def test_counts_rows_windows_and_looks(ledger):
    hours = [
        answered(f"p{i:03}", "m", 1, MONDAY + timedelta(hours=i), '{"x": 1}', '{"prediction": 2}') for i in range(60)
    ]
    ledger.add_entries([*hours, answered("other", "n", 1, MONDAY, "{}", "{}")])
    late = [Feedback(f"p{i:03}", float(i), MONDAY + timedelta(days=30)) for i in range(0, 60, 2)]
    ledger.add_feedback("m", late)
    rows, soon, later = QualityRows(ledger), MONDAY + 2 * DAY, MONDAY + timedelta(days=31)

    assert rows.counts("m", MONDAY, DAY, range(-3, 9), later) == {0: (24, 12), 1: (24, 12), 2: (12, 6)}
    assert rows.counts("m", MONDAY, DAY, range(9), soon) == {0: (24, 0), 1: (24, 0), 2: (1, 0)}
    assert rows.counts("m", MONDAY + DAY, DAY, range(1), later) == {0: (24, 12)}

    newest = rows.rows("m", MONDAY, MONDAY + DAY, later, labelled=True, most=3)
    assert [(row.id, row.label, row.features) for row in newest] == [
        ("p018", 18.0, {}),
        ("p020", 20.0, {}),
        ("p022", 22.0, {}),
    ]
    everything = rows.rows("m", MONDAY, MONDAY + DAY, soon, labelled=False, most=99)
    assert len(everything) == 24
    assert {row.label for row in everything} == {None}
    assert everything[0].features == {"x": 1}

    first = QualityWindow(MONDAY, MONDAY + DAY, "mae", 24, 0, None, {"value": 3.0, "low": 2.0, "high": 4.0})
    second = QualityWindow(MONDAY + DAY, MONDAY + 2 * DAY, "mae", 24, 0, None, None)
    rows.keep("m", [second, first])
    labelled = QualityWindow(MONDAY, MONDAY + DAY, "mae", 24, 12, 3.5, first.estimate)
    rows.keep("m", [labelled])
    assert rows.windows("m", "mae", later, 9) == [labelled, second]
    assert rows.windows("m", "mae", later, 1) == [second]
    assert rows.windows("m", "mae", MONDAY + DAY, 9) == [labelled]
    assert rows.windows("m", "rmse", later, 9) == rows.windows("n", "mae", later, 9) == []

    assert rows.last_look("m") is None
    for share in (0.0, 0.5):
        rows.record_look("m", 1, {"coverage": {"share": share}}, MONDAY)
    assert rows.last_look("m") == {"coverage": {"share": 0.5}}
    ledger.forget("m")
    assert rows.last_look("m") is None
    assert rows.windows("m", "mae", later, 9) == []
