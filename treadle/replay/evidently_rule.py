"""Evidently's own verdict on a window: what `DataDriftPreset()` says with its defaults, and nothing else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pandas as pd

from treadle.settings import quiet_telemetry
from treadle.tables.schema import Schema


@dataclass(frozen=True)
class DriftShare:
    """The share of columns that drifted, and the share from which the preset calls the table drifted."""

    drifted: float
    limit: float


def drift_share(reference: pd.DataFrame, window: pd.DataFrame, schema: Schema) -> DriftShare | None:
    """Run the verdict of `DataDriftPreset()` on the feature columns, without its drawings, which take most of its time.

    Args:
        reference: Rows that the model learned from.
        window: Rows since.
        schema: Tells numbers from categories; times are left out, since they move by nature.

    Returns:
        What it says; `None` where it raises, as it does on empty windows and columns.
    """
    columns = [c for c in schema.features if c.kind != "datetime"]
    names = [c.name for c in columns]
    if window.empty or not names:
        return None
    quiet_telemetry()
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount

    definition = DataDefinition(
        numerical_columns=[c.name for c in columns if c.kind != "category"],
        categorical_columns=[c.name for c in columns if c.kind == "category"],
    )
    before, now = (
        Dataset.from_pandas(frame[names].reset_index(drop=True), data_definition=definition)
        for frame in (reference, window)
    )
    try:
        with warnings.catch_warnings(action="ignore"):
            said = Report([DriftedColumnsCount()]).run(now, before).dict()["metrics"][0]
        return DriftShare(float(said["value"]["share"]), float(said["config"]["drift_share"]))
    except Exception:  # noqa: BLE001 - it raises what it likes on odd windows; a user of it would see no verdict
        return None
