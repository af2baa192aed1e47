"""The shape of a window: what keeps it from being compared at all, and what about its columns is odd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from treadle.drift.records import Finding, Reference, Window
from treadle.errors import nearest
from treadle.tables.schema import Column

NUMERIC = ("number", "integer", "boolean")


def broken(reference: Reference, window: Window, columns: Sequence[Column]) -> list[Finding]:
    """Why the two cannot be compared, one finding a column; empty if they can be."""
    if not len(reference.rows):
        return [_odd("reference", "The reference of this version holds no rows; train the model again.")]
    strangers = [str(c) for c in unknown(reference, window, columns)]
    found = []
    for column in columns:
        if column.name not in window.rows:
            found.append(_odd(column.name, _lacks(column.name, strangers)))
        elif column.name not in reference.rows:
            said = f"The reference lacks the column '{column.name}': the schema changed since; train the model again."
            found.append(_odd(column.name, said))
        elif wrong := _wrong(column, reference.rows[column.name], window.rows[column.name]):
            found.append(_odd(column.name, f"The column '{column.name}' holds {wrong}."))
    return found + _matrices(reference, window)


def unknown(reference: Reference, window: Window, columns: Sequence[Column]) -> list[str]:
    """Columns of the window that neither the model nor its reference knows."""
    known = {c.name for c in columns} | set(reference.rows.columns)
    return [str(name) for name in window.rows.columns if name not in known]


def extra(reference: Reference, window: Window, columns: Sequence[Column]) -> list[Finding]:
    """Findings of unknown columns: the model does not see them, so they break nothing, but somebody sends them."""
    return [
        _odd(name, f"The window has a column '{name}' that the model does not know.")
        for name in unknown(reference, window, columns)
    ]


def absurd_losses(reference: Reference, window: Window) -> str | None:
    """Why losses cannot be compared: most of them are no numbers."""
    for whose, losses in (("reference", reference.losses), ("window", window.losses)):
        odd = len(losses) - int(np.isfinite(losses).sum())
        if odd > len(losses) / 2:
            return f"The loss of {odd:,} of {len(losses):,} labelled rows of the {whose} is not a finite number."
    return None


def monotonous(window: Window, columns: Sequence[Column]) -> str | None:
    """Why a window says nothing although it has rows: all of them are the same one, or nothing."""
    rows = window.rows[[c.name for c in columns if c.kind != "datetime"]]
    if rows.shape[1] and not rows.notna().to_numpy().any():
        return f"All {len(rows):,} rows of the window are empty: their columns are missing or were not read."
    if rows.shape[1] and not window.matrices and len(rows) > 1 and all(_same(rows[name]) for name in rows):
        return f"All {len(rows):,} rows of the window are the same one: a stuck caller or a test, not a stream."
    return None


def _same(values: pd.Series) -> bool:
    return values.nunique(dropna=False) == 1


def _odd(name: str, said: str) -> Finding:
    return Finding("schema", name, 1.0, 0.0, 1.0, drifted=True, certain=True, said=said)


def _lacks(name: str, strangers: Sequence[str]) -> str:
    guess = nearest(name, strangers).strip().removeprefix("Did you mean ").removesuffix("?")
    if guess:
        return f"The window lacks the column '{name}' and has an unknown one, {guess}: was it renamed?"
    return f"The window lacks the column '{name}'; was the model's schema changed?"


def _wrong(column: Column, normal: pd.Series, current: pd.Series) -> str | None:
    """What a column holds instead of what it should; one without any value says nothing of its type."""
    if not current.notna().any() or column.kind == "datetime":
        return None
    if column.kind in NUMERIC:
        if not pd.api.types.is_numeric_dtype(current):
            return f"{current.dtype}, not numbers"
        return "infinite values" if np.isinf(current.to_numpy(dtype=np.float64, na_value=np.nan)).any() else None
    if pd.api.types.is_numeric_dtype(current) and not pd.api.types.is_numeric_dtype(normal) and normal.notna().any():
        return f"{current.dtype}, not text"
    return None


def _matrices(reference: Reference, window: Window) -> list[Finding]:
    found = []
    for name, normal in reference.matrices.items():
        current = window.matrices.get(name)
        if current is None:
            found.append(_odd(name, f"The window lacks the embedding '{name}'."))
        elif current.shape != (len(window.rows), normal.shape[1]):
            want = f"({len(window.rows)}, {normal.shape[1]})"
            found.append(_odd(name, f"The embedding '{name}' is of shape {current.shape}, not {want}."))
        elif not np.isfinite(current).all():
            found.append(_odd(name, f"The embedding '{name}' holds values that are not finite."))
    return found
