"""An estimator on disk, beside the version's reference: JSON, ONNX and a table; nothing that runs code when opened.

`estimator.json` has the figures, `estimator.onnx` the model of the loss, `estimator.parquet` the rows that it was learned
from with their losses, a row a line, so that what is erased of a subject takes its loss along.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from treadle.quality.calibration import Calibration
from treadle.quality.estimator import Estimator, Seen
from treadle.quality.loss_model import LOSS, LossModel
from treadle.quality.spread import Spread
from treadle.quality.use import Use
from treadle.tables.schema import Column

FIGURES, MODEL, ROWS = "estimator.json", "estimator.onnx", "estimator.parquet"


def keep_estimator(estimator: Estimator, rows: pd.DataFrame, folder: Path) -> None:
    """Write an estimator into a version's evidence; the figures come last, so that what is half written is not there.

    Args:
        estimator: The estimator.
        rows: Rows (n, columns) with their losses in `__loss__`.
        folder: The version's evidence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / ROWS, index=False)
    figures: dict[str, Any] = {
        "metric": estimator.metric,
        "classes": estimator.classes,
        "uses": [asdict(use) for use in estimator.uses],
        "seen": {name: _plain(seen) for name, seen in estimator.seen.items()},
        "value": estimator.value,
        "loss": estimator.loss,
        "spread": asdict(estimator.spread),
    }
    if isinstance(estimator.expects, LossModel):
        (folder / MODEL).write_bytes(estimator.expects.onnx)
        columns = [column.model_dump() for column in estimator.expects.columns]
        figures["loss_model"] = {"mean": estimator.expects.mean, "worth": estimator.expects.worth, "columns": columns}
    else:
        figures["calibration"] = estimator.expects.maps
    draft = folder / f"{FIGURES}.part"
    draft.write_text(json.dumps(figures), encoding="utf-8")
    draft.replace(folder / FIGURES)


def load_estimator(folder: Path) -> Estimator | None:
    """Read what `keep_estimator` wrote; `None` if it is not there, or was erased in part."""
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        model = (folder / MODEL).read_bytes() if "loss_model" in figures else b""
    except FileNotFoundError:
        return None
    classes = figures["classes"]
    return Estimator(
        figures["metric"],
        tuple(classes) if classes else None,
        _expects(figures, model),
        tuple(Use(**use) for use in figures["uses"]),
        {name: _seen(seen) for name, seen in figures["seen"].items()},
        figures["value"],
        figures["loss"],
        Spread(**figures["spread"]),
    )


def load_rows(folder: Path) -> pd.DataFrame | None:
    """The rows that an estimator was learned from, with their losses; `None` if they are not there."""
    path = folder / ROWS
    return pd.read_parquet(path) if path.exists() else None


def with_losses(rows: pd.DataFrame, columns: list[str], losses: Any) -> pd.DataFrame:
    """The rows' columns of that name, and their losses beside them."""
    return rows[columns].assign(**{LOSS: losses})


def _expects(figures: dict[str, Any], model: bytes) -> Calibration | LossModel:
    if "loss_model" not in figures:
        return Calibration(tuple((tuple(given), tuple(true)) for given, true in figures["calibration"]))
    said = figures["loss_model"]
    return LossModel(model, tuple(Column(**column) for column in said["columns"]), said["mean"], said["worth"])


def _plain(seen: Seen) -> dict[str, Any]:
    return {"low": seen.low, "high": seen.high, "levels": None if seen.levels is None else sorted(seen.levels)}


def _seen(said: dict[str, Any]) -> Seen:
    levels = said["levels"]
    return Seen(said["low"], said["high"], None if levels is None else frozenset(levels))
