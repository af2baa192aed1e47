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
BLOCKS = 3  # of a shorter reference a block is a third, and the margin is the widest
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
    wrong = _invalid(reference, window, columns)
    if wrong:
        return Judgement("invalid", wrong)
    n = len(window.rows)
    if n < watch.min_rows:
        return Judgement("insufficient-data", f"{n} predictions of this version; {watch.min_rows} are needed to judge.")
    odd = len(window.losses) - int(np.isfinite(window.losses).sum())
    reference = Reference(reference.rows, reference.timed, *_finite(reference.losses, reference.loss_days))
    window = Window(window.rows, *_finite(window.losses, window.loss_days))
    drifts = tuple(_columns(reference, window.rows, columns))
    moved = [c.name for c in drifts if c.drifted]
    inputs = f"inputs moved: {', '.join(moved)}" if moved else "inputs are where they were"
    if odd:
        inputs += f"; losses left out, since they are not finite: {odd}"
    quality = _quality(reference, window, seed) if len(window.losses) >= watch.min_labelled else None
    if quality is not None:
        return _by_quality(quality, drifts, inputs)
    said = f"{inputs[0].upper()}{inputs[1:]} ({_why_inputs(window, watch)}).{_say_short(reference, n)}"
    return Judgement("drift" if moved else "ok", said, drifts)


def _why_inputs(window: Window, watch: Watch) -> str:
    """Why quality does not decide."""
    if len(window.losses) < watch.min_labelled:
        return f"{len(window.losses)} labels, {watch.min_labelled} are needed for quality"
    return f"{len(window.losses)} labels, but the version kept no losses to compare them with"


def _say_short(reference: Reference, n: int) -> str:
    if not reference.timed or len(reference.rows) >= BLOCKS * n:
        return ""
    return f" The reference has only {len(reference.rows):,} rows, so the distances allowed are wide."


def _invalid(reference: Reference, window: Window, columns: Sequence[Column]) -> str | None:
    """Why the two cannot be compared, if they cannot."""
    if not len(reference.rows):
        return "The reference of this version holds no rows; train the model again."
    for column in columns:
        if column.name not in window.rows:
            return f"The window lacks the column '{column.name}'; was the model's schema changed?"
        if column.name not in reference.rows:
            return f"The reference lacks the column '{column.name}': the schema changed since; train the model again."
        wrong = _not_numbers(window.rows[column.name]) if column.kind in ("number", "integer", "boolean") else None
        if wrong:
            return f"The column '{column.name}' holds {wrong}."
    for whose, losses in (("reference", reference.losses), ("window", window.losses)):
        odd = len(losses) - int(np.isfinite(losses).sum())
        if odd > len(losses) / 2:
            return f"The loss of {odd:,} of {len(losses):,} labelled rows of the {whose} is not a finite number."
    return None


def _finite(losses: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses and days without those that are no numbers: one absurd label must not make the others unknown."""
    known = np.isfinite(losses)
    return losses[known], days[known]


def _not_numbers(values: pd.Series) -> str | None:
    """What a column of numbers holds instead; a column without any value says nothing of its type."""
    if not values.notna().any():
        return None
    if not pd.api.types.is_numeric_dtype(values):
        return f"{values.dtype}, not numbers"
    return "infinite values" if np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).any() else None


def _columns(reference: Reference, rows: pd.DataFrame, columns: Sequence[Column]) -> list[ColumnDrift]:
    watched = [c for c in columns if c.kind != "datetime"]
    return [_column(reference, rows[c.name], c, len(watched)) for c in watched]


def _column(reference: Reference, values: pd.Series, column: Column, family: int) -> ColumnDrift:
    numeric = column.kind != "category"
    normal, current, size = _coded(reference.rows[column.name], values, numeric)
    usual = _counts(normal, size)
    statistic = _distance(usual, _counts(current, size), numeric)
    threshold = max(LEAST_EFFECT, _independent_bound(usual, len(current), family, numeric))
    if reference.timed:
        threshold = max(threshold, _block_bound(normal, size, len(current), numeric))
    threshold = min(threshold, 1.0)
    return ColumnDrift(column.name, round(statistic, 4), round(threshold, 4), bool(statistic > threshold))


def _coded(normal: pd.Series, current: pd.Series, numeric: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Both columns as codes, (n,) and (m,), and the number of codes: 0 for missing, numbers by rank from 1 on.

    Counts of codes give every distance of every block without sorting it again.
    """
    if numeric:
        both = np.concatenate([c.to_numpy(dtype=np.float64, na_value=np.nan) for c in (normal, current)])
        known = ~np.isnan(both)
        codes = np.zeros(len(both), dtype=np.int64)
        ranked, ranks = np.unique(both[known], return_inverse=True)
        codes[known] = ranks + 1
        size = len(ranked) + 1
    else:
        texts = [c.astype("object").where(c.notna(), "").astype(str).to_numpy(dtype=object) for c in (normal, current)]
        both = np.concatenate(texts)
        codes, names = pd.factorize(both)
        codes, size = np.where(both == "", 0, codes + 1), len(names) + 1
    return codes[: len(normal)], codes[len(normal) :], size


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(codes, minlength=size)


def _distance(a: np.ndarray, b: np.ndarray, numeric: bool) -> float:
    """How far two counts of codes (size,) are apart, 0 to 1; unseen categories count in full.

    Numbers: Kolmogorov-Smirnov distance of the known ones, or the change of the missing share if that is larger.
    Categories: total variation, half the sum of the differences of shares.
    """
    rows_a, rows_b = int(a.sum()), int(b.sum())
    if not rows_a or not rows_b:
        return 0.0
    if not numeric:
        return float(np.abs(a / rows_a - b / rows_b).sum() / 2)
    gap = abs(float(a[0]) / rows_a - float(b[0]) / rows_b)
    known_a, known_b = rows_a - int(a[0]), rows_b - int(b[0])
    if not known_a or not known_b:
        return gap
    return max(gap, float(np.abs(np.cumsum(a[1:]) / known_a - np.cumsum(b[1:]) / known_b).max()))


def _independent_bound(usual: np.ndarray, n: int, family: int, numeric: bool) -> float:
    """What independent rows exceed with probability FALSE_ALARM / family.

    Sources: for KS, the two-sample Smirnov bound (F. Massart 1990 gives its constant); for total variation, its mean plus
    McDiarmid's deviation (C. McDiarmid 1989), since one row moves it by 1/n at most.
    """
    level = FALSE_ALARM / max(1, family)
    rows = max(1, int(usual.sum()))
    spread = 1 / n + 1 / rows
    if numeric:
        return float(np.sqrt(-np.log(level / 2) / 2 * spread))
    shares = usual / rows
    expected = float(np.sum(np.sqrt(shares * (1 - shares) * spread))) / np.sqrt(2 * np.pi)
    return expected + float(np.sqrt(-np.log(level) / 2 * spread))


def _block_bound(normal: np.ndarray, size: int, n: int, numeric: bool) -> float:
    """How far blocks of n rows of the reference are from the rest of it at most, and a margin for the few there are."""
    n = min(n, len(normal) // BLOCKS)
    if n < 10:
        return 0.0
    usual = _counts(normal, size)
    worst = 0.0
    for start in np.unique(np.linspace(0, len(normal) - n, BLOCK_STARTS).astype(int)):
        block = _counts(normal[start : start + n], size)
        worst = max(worst, _distance(usual - block, block, numeric))
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
    """Bootstrap means (SAMPLES,): of whole days where there are enough of them, since the hours of a day belong together.

    Means of k drawn days vary by (k - 1) / k of what means of k days do, which matters for few days; the deviations are
    stretched by as much (Efron and Tibshirani 1993, section 6.5 on small samples).
    """
    labels, inverse = np.unique(days, return_inverse=True)
    if len(labels) < 4:
        return losses[rng.integers(0, len(losses), (SAMPLES, len(losses)))].mean(axis=1)
    sums, counts = np.bincount(inverse, weights=losses), np.bincount(inverse)
    drawn = rng.integers(0, len(labels), (SAMPLES, len(labels)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    middle, days_there = sums.sum() / counts.sum(), len(labels)
    return middle + (means - middle) * np.sqrt(days_there / (days_there - 1))


def _by_quality(quality: Quality, drifts: tuple[ColumnDrift, ...], inputs: str) -> Judgement:
    said = (
        f"Mean loss {quality.window:.4g} on {quality.labelled} labelled predictions, {quality.reference:.4g} was normal "
        f"({quality.ratio:.2f} times; surely above {quality.lower:.2f}); {inputs}."
    )
    lost = quality.lower > 1.0 and quality.ratio > 1 + LEAST_LOSS
    return Judgement("quality-loss" if lost else "ok", said, drifts, quality)
