"""Evidently's page about a window: for people to look at. What it says decides nothing, and it is made safe to open."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from treadle.settings import quiet_telemetry
from treadle.tables.schema import Schema

MOST_ROWS = 5000
LEAST_ROWS = 30


def evidently_html(reference: pd.DataFrame, window: pd.DataFrame, schema: Schema, path: Path) -> str | None:
    """Write Evidently's drift report as one HTML file that needs no network.

    Args:
        reference: Feature rows at training.
        window: Feature rows now.
        schema: Tells numbers from categories.
        path: The file; its folder is made.

    Returns:
        Why there is no report; `None` when it was written.
    """
    columns = [c for c in schema.features if c.kind != "datetime" and _drawable(reference, window, c.name)]
    if len(window) < LEAST_ROWS or not columns:
        return f"{len(window)} rows and {len(columns)} columns with values are too few to draw."
    quiet_telemetry()
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[_safe_name(c.name) for c in columns if c.kind != "category"],
        categorical_columns=[_safe_name(c.name) for c in columns if c.kind == "category"],
    )
    before, now = (_prepared(frame, [c.name for c in columns]) for frame in (reference, window))
    try:
        snapshot = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(now, data_definition=definition),
            Dataset.from_pandas(before, data_definition=definition),
        )
        html = snapshot.get_html_str(as_iframe=False)
    except Exception as error:  # noqa: BLE001 - Evidently raises what it likes on odd windows, and only a picture is lost
        return f"Evidently could not draw this window: {type(error).__name__}."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return None


def _drawable(reference: pd.DataFrame, window: pd.DataFrame, name: str) -> bool:
    return all(name in frame and frame[name].notna().sum() > 1 for frame in (reference, window))


def _prepared(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """At most 5,000 rows, with markup taken out of names and values: Evidently writes both into scripts as they are."""
    rows = frame[names].tail(MOST_ROWS).reset_index(drop=True)
    for name in names:
        if not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = rows[name].map(_safe_name, na_action="ignore").astype("str")
    return rows.rename(columns=_safe_name)


def _safe_name(text: object) -> str:
    """Text that cannot end a script or begin an element.

    >>> _safe_name("</script><b>")
    '‹/script›‹b›'
    """
    return re.sub(r"[\u2028\u2029]", " ", str(text).replace("<", "‹").replace(">", "›"))
