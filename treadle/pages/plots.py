"""Pictures of how a model answers, as PNG files: for classification, for regression, and which columns matter.

Draws on figures of its own, so that nobody's matplotlib state changes. Knows nothing of models or MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from treadle.learning.importance import permutation_importance
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from treadle.problems import Problem

__all__ = ["draw_plots", "permutation_importance"]

Array = np.ndarray[Any, Any]

INK, FAINT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
COLORS = ("#2563a6", "#d9722e", "#2f8f5b", "#b83a6b", "#7a5bbf", "#b08a1e", "#1c9aa0", "#6b7280")
MAX_CLASSES = 8
MAX_POINTS = 5000


def draw_plots(
    folder: Path,
    problem: Problem,
    schema: Schema,
    y: Array,
    answer: Array,
    *,
    times: Array | None = None,
    importance: Sequence[dict[str, Any]] | None = None,
) -> list[Path]:
    """Draw what a person looks at before trusting a model.

    Args:
        folder: Where the files go; made when missing.
        problem: From `treadle.problems`; its name says which plots are drawn.
        schema: Says what the target and its classes are called.
        y: Encoded targets, shape (n,); class numbers for classification.
        answer: The model's answers, (n,) for regression, (n, classes) for classification.
        times: Event times, shape (n,), datetime64; residuals are drawn over them.
        importance: What `permutation_importance` returned.

    Returns:
        The files: `roc_pr.png`, `calibration.png`, `confusion.png`, or `predicted.png`, `residuals.png`; and
        `importance.png`.
    """
    if problem.name.endswith("classification"):
        labels = y.astype(int)
        figures = {
            "roc_pr": _roc_pr(schema, labels, answer),
            "calibration": _calibration(schema, labels, answer),
            "confusion": _confusion(schema, labels, answer),
        }
    else:
        figures = {
            "predicted": _predicted(schema, y, answer),
            "residuals": _residuals(schema, y, answer, times),
        }
    if importance:
        figures["importance"] = _importance(importance)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def _canvas(title: str, panels: int = 1, *, width: float = 6.4, height: float = 4.8) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` axes side by side in the house's look."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    for ax in axes:
        ax.set_axisbelow(True)
        ax.grid(color=GRID, linewidth=0.8)
        ax.tick_params(colors=FAINT, labelsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(FAINT)
    return figure, axes


def _label(ax: Axes, x: str, y: str, title: str | None = None) -> None:
    ax.set_xlabel(x, color=INK, fontsize=10)
    ax.set_ylabel(y, color=INK, fontsize=10)
    if title:
        ax.set_title(title, loc="left", fontsize=10, color=FAINT)


def _short(text: object, most: int = 24) -> str:
    """Text that fits beside an axis; a dollar would begin a formula."""
    text = " ".join(str(text).split())
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def _shown_classes(schema: Schema, labels: Array) -> list[int]:
    """Classes that get a curve: the second of two, else the most frequent ones that occur and do not stand alone."""
    count = len(schema.classes or ())
    if count == 2:
        return [1] if 0 < int((labels == 1).sum()) < len(labels) else []
    sizes = np.bincount(labels, minlength=count)
    return [int(c) for c in np.argsort(-sizes, kind="stable")[:MAX_CLASSES] if 0 < sizes[c] < len(labels)]


def _roc_pr(schema: Schema, labels: Array, answer: Array) -> Figure:
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    figure, (roc, pr) = _canvas(f"How well {_short(schema.target)} is told apart ({len(labels):,} rows)", 2)
    for color, number in zip(COLORS, _shown_classes(schema, labels), strict=False):
        name, hit = _short((schema.classes or ())[number]), labels == number
        false, true, _ = roc_curve(hit, answer[:, number])
        roc.plot(false, true, color=color, linewidth=1.8, label=f"{name}  (AUC {auc(false, true):.3f})")
        precision, recall, _ = precision_recall_curve(hit, answer[:, number])
        area = average_precision_score(hit, answer[:, number])
        pr.plot(recall, precision, color=color, linewidth=1.8, label=f"{name}  (AP {area:.3f}, share {hit.mean():.3f})")
        pr.axhline(float(hit.mean()), color=color, linewidth=0.9, linestyle=":")
    roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=":")
    _label(roc, "False positive rate (share)", "True positive rate (share)", "ROC; dotted: guessing")
    _label(pr, "Recall (share)", "Precision (share)", "Precision and recall; dotted: guessing")
    for ax in (roc, pr):
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="lower right" if ax is roc else "best", fontsize=9, frameon=True, edgecolor=GRID)
    return figure


def _calibration(schema: Schema, labels: Array, answer: Array) -> Figure:
    figure, (curve, counts) = _canvas(f"Can the probabilities of {_short(schema.target)} be believed?", 2)
    curve.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=":", label="perfect")
    for color, number in zip(COLORS, _shown_classes(schema, labels), strict=False):
        predicted, seen, error = _bins(answer[:, number], labels == number)
        name = _short((schema.classes or ())[number])
        curve.errorbar(
            predicted, seen, error, color=color, marker="o", markersize=4, capsize=2, linewidth=1.4, label=name
        )
        counts.hist(answer[:, number], bins=20, range=(0, 1), histtype="step", color=color, linewidth=1.6, label=name)
    _label(curve, "Predicted probability", "Seen share", "Ten bins of equal size, 95 % intervals")
    _label(counts, "Predicted probability", "Rows", "How often each probability is answered")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    curve.legend(loc="upper left", fontsize=9, frameon=True, edgecolor=GRID)
    return figure


def _bins(predicted: Array, hit: Array, bins: int = 10) -> tuple[Array, Array, Array]:
    """Mean prediction, share of hits and its 95 % interval's half width in bins of equal size; each (≤ bins,)."""
    groups = [group for group in np.array_split(np.argsort(predicted, kind="stable"), bins) if len(group)]
    mean = np.array([predicted[group].mean() for group in groups])
    share = np.array([hit[group].mean() for group in groups])
    size = np.array([len(group) for group in groups])
    return mean, share, 1.96 * np.sqrt(share * (1 - share) / size)


def _confusion(schema: Schema, labels: Array, answer: Array) -> Figure:
    classes = schema.classes or ()
    sizes = np.bincount(labels, minlength=len(classes))
    shown = sorted(np.argsort(-sizes, kind="stable")[:12])
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (labels, answer.argmax(axis=1)), 1)
    part = counts[np.ix_(shown, shown)]
    share = part / np.maximum(counts[shown].sum(axis=1, keepdims=True), 1)
    side = max(4.6, 1.0 + 0.62 * len(shown))
    figure, (ax,) = _canvas(f"What is taken for what: {_short(schema.target)}", width=side + 0.8, height=side)
    ax.grid(visible=False)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [_short(classes[number], 14) for number in shown]
    ax.set_xticks(
        range(len(shown)), names, rotation=35 if len(shown) > 3 else 0, ha="right" if len(shown) > 3 else "center"
    )
    ax.set_yticks(range(len(shown)), names)
    for (row, column), value in np.ndenumerate(share):
        color = "white" if value > 0.55 else INK
        ax.text(
            column, row, f"{value:.0%}\n{part[row, column]:,.0f}", ha="center", va="center", fontsize=9, color=color
        )
    more = f"; the {len(shown)} most frequent of {len(classes)} classes" if len(shown) < len(classes) else ""
    _label(ax, "Predicted", "Actual", f"Share of the actual class, and rows{more}")
    return figure


def _sample(n: int) -> Array:
    """Positions of at most MAX_POINTS points, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(int))


def _predicted(schema: Schema, y: Array, answer: Array) -> Figure:
    target, picked = _short(schema.target), _sample(len(y))
    figure, (ax,) = _canvas(f"Predicted and actual {target} ({len(y):,} rows)", width=6.0, height=5.6)
    low, high = float(min(y.min(), answer.min())), float(max(y.max(), answer.max()))
    ax.scatter(answer[picked], y[picked], s=9, alpha=0.35, color=COLORS[0], linewidths=0)
    ax.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--", label="perfect")
    groups = [group for group in np.array_split(np.argsort(answer, kind="stable"), 12) if len(group)]
    middle = [[float(np.median(values[group])) for group in groups] for values in (answer, y)]
    ax.plot(*middle, color=COLORS[1], linewidth=1.8, marker="o", markersize=4, label="median of twelfths")
    _label(ax, f"Predicted {target}", f"Actual {target}", f"Mean absolute error {np.abs(y - answer).mean():.4g}")
    ax.legend(loc="upper left", fontsize=9, frameon=True, edgecolor=GRID)
    return figure


def _residuals(schema: Schema, y: Array, answer: Array, times: Array | None) -> Figure:
    from matplotlib.dates import ConciseDateFormatter

    target, picked, error = _short(schema.target), _sample(len(y)), y - answer
    figure, (along, histogram) = _canvas(f"What is left over: actual minus predicted {target}", 2)
    x = answer if times is None else times
    along.scatter(x[picked], error[picked], s=8, alpha=0.3, color=COLORS[0], linewidths=0)
    along.axhline(0, color=INK, linewidth=1, linestyle="--")
    groups = [group for group in np.array_split(np.argsort(x, kind="stable"), 24) if len(group)]
    centers = [np.sort(x[group])[len(group) // 2] for group in groups]
    along.plot(centers, [error[group].mean() for group in groups], color=COLORS[1], linewidth=1.8, label="running mean")
    _label(
        along,
        f"Predicted {target}" if times is None else "Event time (UTC)",
        f"Residual ({target})",
        f"{len(y):,} rows",
    )
    if times is not None:
        along.xaxis.set_major_formatter(ConciseDateFormatter(along.xaxis.get_major_locator()))
    along.legend(loc="upper left", fontsize=9, frameon=True, edgecolor=GRID)
    low, high = np.percentile(error, [0.5, 99.5])
    histogram.hist(error, bins=40, range=(low, high) if high > low else None, color=COLORS[0], alpha=0.85)
    histogram.axvline(float(error.mean()), color=COLORS[1], linewidth=1.8, label=f"mean {error.mean():.3g}")
    _label(histogram, f"Residual ({target})", "Rows", "Middle 99 %")
    histogram.legend(fontsize=9, frameon=True, edgecolor=GRID)
    return figure


def _importance(importance: Sequence[dict[str, Any]], most: int = 15) -> Figure:
    shown = [entry for entry in importance if entry["importance"] or entry["spread"]][:most][::-1]
    figure, (ax,) = _canvas("Which columns the model leans on", width=7.0, height=1.5 + 0.3 * max(1, len(shown)))
    values, spread = [entry["importance"] for entry in shown], [entry["spread"] for entry in shown]
    names = [_short(entry["column"], 30) for entry in shown]
    ax.barh(names, values, xerr=spread, color=COLORS[0], height=0.7, error_kw={"ecolor": FAINT, "capsize": 2})
    ax.grid(visible=False, axis="y")
    ax.axvline(0, color=FAINT, linewidth=0.8)
    metric = _short(importance[0].get("metric", "the metric"))
    title = f"{len(shown)} of {len(importance)} columns; whiskers: standard deviation"
    _label(ax, f"Loss in {metric} when the column is shuffled", "", title)
    return figure
