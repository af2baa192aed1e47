"""Does the model still hold? A calibrated verdict on a window of predictions, against what was normal at training.

Every threshold comes from the reference itself: from blocks of it as long as the window, since hours and days that
follow each other differ more than independent rows do. Pure functions on tables; nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.project import Watch
from treadle.schema import Column

FALSE_ALARM = 0.01  # a quiet window is called drift at most so often, over all columns together
QUALITY_FALSE_ALARM = 0.02
LEAST_EFFECT = 0.1  # a smaller distance does not matter, however certain it is
LEAST_LOSS = 0.05  # a mean loss must grow by more than this share
BLOCK_STARTS = 40
SAMPLES = 4000


@dataclass(frozen=True)
class Reference:
    """What was normal when a version was trained.

    Attributes:
        rows: Feature rows in time order, (n, columns); at most a few thousand.
        timed: Whether their order means time.
        losses: Losses of rows that the rehearsal had not seen, (m,).
        loss_days: The day number of each of those rows (m,), or -1 each when there is no time.
    """

    rows: pd.DataFrame
    timed: bool
    losses: np.ndarray
    loss_days: np.ndarray


@dataclass(frozen=True)
class Window:
    """The newest predictions of one version.

    Attributes:
        rows: Feature rows in time order, (n, columns).
        losses: Losses of the labelled ones, (k,).
        loss_days: Their day numbers (k,).
    """

    rows: pd.DataFrame
    losses: np.ndarray
    loss_days: np.ndarray


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column moved: Kolmogorov-Smirnov distance for numbers, total variation for categories, 0 to 1."""

    name: str
    statistic: float
    threshold: float
    drifted: bool


@dataclass(frozen=True)
class Quality:
    """Mean loss of the window against the reference, and the least ratio that would be a quality loss here."""

    reference: float
    window: float
    ratio: float
    lower: float
    labelled: int


@dataclass(frozen=True)
class Judgement:
    """A verdict: `ok`, `drift`, `quality-loss`, `insufficient-data` or `invalid`; with its reason in plain words."""

    verdict: str
    reason: str
    columns: tuple[ColumnDrift, ...] = ()
    quality: Quality | None = None

    def figures(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)


def judge(reference: Reference, window: Window, columns: Sequence[Column], watch: Watch, seed: int = 0) -> Judgement:
    """Judge a window. The schema comes first, then the number of rows, then quality where labels suffice, else inputs.

    Args:
        reference: What was normal.
        window: What is to be judged.
        columns: The model's feature columns; times are left out, since they move by nature.
        watch: The project's thresholds.
        seed: Seed of the bootstrap.
    """
    wrong = _invalid(window.rows, columns)
    if wrong:
        return Judgement("invalid", wrong)
    n = len(window.rows)
    if n < watch.min_rows:
        return Judgement("insufficient-data", f"{n} predictions of this version; {watch.min_rows} are needed to judge.")
    drifts = tuple(_columns(reference, window.rows, columns))
    moved = [c.name for c in drifts if c.drifted]
    inputs = f"inputs moved: {', '.join(moved)}" if moved else "inputs are where they were"
    quality = _quality(reference, window, seed) if len(window.losses) >= watch.min_labelled else None
    if quality is not None:
        return _by_quality(quality, drifts, inputs)
    known = f"{len(window.losses)} labels, {watch.min_labelled} are needed for quality"
    if moved:
        return Judgement("drift", f"{inputs[0].upper()}{inputs[1:]} ({known}).", drifts)
    return Judgement("ok", f"{inputs[0].upper()}{inputs[1:]} ({known}).", drifts)


def _invalid(rows: pd.DataFrame, columns: Sequence[Column]) -> str | None:
    """Why the window is not one, if it is not."""
    for column in columns:
        if column.name not in rows:
            return f"The window lacks the column '{column.name}'; was the model's schema changed?"
        values = rows[column.name]
        numeric = column.kind in ("number", "integer", "boolean")
        if numeric and not pd.api.types.is_numeric_dtype(values):
            return f"The column '{column.name}' holds {values.dtype}, not numbers."
        if numeric and np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).any():
            return f"The column '{column.name}' holds infinite values."
    return None


def _columns(reference: Reference, rows: pd.DataFrame, columns: Sequence[Column]) -> list[ColumnDrift]:
    watched = [c for c in columns if c.kind != "datetime" and c.name in reference.rows]
    return [_column(reference, rows[c.name], c, len(watched)) for c in watched]


def _column(reference: Reference, values: pd.Series, column: Column, family: int) -> ColumnDrift:
    numeric = column.kind != "category"
    normal = _plain(reference.rows[column.name], numeric)
    current = _plain(values, numeric)
    statistic = _distance(normal, current, numeric)
    threshold = max(LEAST_EFFECT, _independent_bound(normal, len(current), family, numeric))
    if reference.timed:
        threshold = max(threshold, _block_bound(normal, len(current), numeric))
    threshold = min(threshold, 1.0)
    return ColumnDrift(column.name, round(statistic, 4), round(threshold, 4), bool(statistic > threshold))


def _plain(values: pd.Series, numeric: bool) -> np.ndarray:
    if numeric:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.astype("object").where(values.notna(), "").astype(str).to_numpy(dtype=object)


def _distance(a: np.ndarray, b: np.ndarray, numeric: bool) -> float:
    """KS distance of the known values, or the change of the missing share if that is larger; TV for categories."""
    if not len(a) or not len(b):
        return 0.0
    if not numeric:
        return _total_variation(a, b)
    gap = abs(float(np.isnan(a).mean()) - float(np.isnan(b).mean()))
    known_a, known_b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(known_a) or not len(known_b):
        return gap
    return max(gap, _ks(np.sort(known_a), np.sort(known_b)))


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two empirical distributions; both sorted."""
    at = np.concatenate([a, b])
    return float(np.max(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b))))


def _total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the sum of the differences of shares; unseen categories count in full."""
    p, q = pd.Series(a).value_counts(normalize=True), pd.Series(b).value_counts(normalize=True)
    return float(p.sub(q, fill_value=0).abs().sum() / 2)


def _independent_bound(normal: np.ndarray, n: int, family: int, numeric: bool) -> float:
    """What independent rows exceed with probability FALSE_ALARM / family.

    Sources: for KS, the two-sample Smirnov bound (F. Massart 1990 gives its constant); for total variation, its mean plus
    McDiarmid's deviation (C. McDiarmid 1989), since one row moves it by 1/n at most.
    """
    level = FALSE_ALARM / max(1, family)
    spread = 1 / n + 1 / max(1, len(normal))
    if numeric:
        return float(np.sqrt(-np.log(level / 2) / 2 * spread))
    shares = pd.Series(normal).value_counts(normalize=True).to_numpy()
    expected = float(np.sum(np.sqrt(shares * (1 - shares) * spread))) / np.sqrt(2 * np.pi)
    return expected + float(np.sqrt(-np.log(level) / 2 * spread))


def _block_bound(normal: np.ndarray, n: int, numeric: bool) -> float:
    """How far blocks of n rows of the reference are from the rest of it at most, and a margin for the few there are."""
    n = min(n, len(normal) // 3)
    if n < 10:
        return 0.0
    starts = np.unique(np.linspace(0, len(normal) - n, BLOCK_STARTS).astype(int))
    worst = 0.0
    for start in starts:
        rest = np.concatenate([normal[:start], normal[start + n :]])
        worst = max(worst, _distance(rest, normal[start : start + n], numeric))
    independent = max(1.0, len(normal) / n)
    return worst * (1 + 1 / np.sqrt(independent))


def _quality(reference: Reference, window: Window, seed: int) -> Quality | None:
    """The ratio of mean losses, with the lower bound of it that chance leaves standing."""
    if len(reference.losses) < 2:
        return None
    rng = np.random.default_rng(seed)
    before = _bootstrap_means(reference.losses, reference.loss_days, rng)
    now = _bootstrap_means(window.losses, window.loss_days, rng)
    lower = float(np.quantile(now / np.maximum(before, 1e-12), QUALITY_FALSE_ALARM))
    old, new = float(reference.losses.mean()), float(window.losses.mean())
    return Quality(old, new, new / max(old, 1e-12), lower, len(window.losses))


def _bootstrap_means(losses: np.ndarray, days: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap means (SAMPLES,): of whole days where there are enough of them, since the hours of a day belong together."""
    labels, inverse = np.unique(days, return_inverse=True)
    if len(labels) < 4:
        return losses[rng.integers(0, len(losses), (SAMPLES, len(losses)))].mean(axis=1)
    sums, counts = np.bincount(inverse, weights=losses), np.bincount(inverse)
    drawn = rng.integers(0, len(labels), (SAMPLES, len(labels)))
    return sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)


def _by_quality(quality: Quality, drifts: tuple[ColumnDrift, ...], inputs: str) -> Judgement:
    said = (
        f"Mean loss {quality.window:.4g} on {quality.labelled} labelled predictions, {quality.reference:.4g} was normal "
        f"({quality.ratio:.2f} times; surely above {quality.lower:.2f}); {inputs}."
    )
    lost = quality.lower > 1.0 and quality.ratio > 1 + LEAST_LOSS
    return Judgement("quality-loss" if lost else "ok", said, drifts, quality)
