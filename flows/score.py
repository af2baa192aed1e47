"""The score flow: batch inference. Exactly one output row an input row; a killed run goes on where it stopped."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.score import gather_answers, plan_batches, score_batch
from tasks.turn import metered


@flow(name="score", flow_run_name="{project}: score {source}")
def score(
    project: str,
    source: str,
    target_path: str,
    version: int | None = None,
    batch_rows: int = 10_000,
    record: bool = False,
) -> dict[str, Any]:
    """Answer every row of a table with the champion (or a given version) and write them as CSV or Parquet.

    Args:
        project: A folder in `projects/`.
        source: A CSV, Parquet or JSON Lines file, or a URL, as in `data.source`.
        target_path: The file to write; `.csv` or `.parquet`. It appears whole or not at all.
        version: The version that answers; the champion, when left out.
        batch_rows: Rows that one task answers.
        record: Keep the answers in the ledger too, as the service does: then labels may follow, by the column
            `prediction_id`, and the watch sees the rows.

    Returns:
        Rows, version and the file; `cells_not_read` by column, where some were taken as missing.
    """
    with metered(project, "score"):
        plan = plan_batches(project, source, target_path, version, batch_rows, record)
        for number in range(plan.batches):
            score_batch(plan, number)
        return gather_answers(plan)
