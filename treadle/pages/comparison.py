"""One column before and now: shares by bin, the change in a few words, and a small picture of both as inline SVG.

The picture is markup of a few rectangles and one line, coloured by the page's own style, so that it is small and turns
dark with the page. Names and categories in it are escaped by the XML writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd

from treadle.tables.schema import Column
from treadle.wording import number, short

BINS = 20
MOST_CATEGORIES = 12
WIDTH, HEIGHT = 220, 56
LEAST_CHANGE = 0.01
STYLE = """
svg{display:block;width:13.75rem;max-width:100%;min-width:8rem;height:3.5rem} .normal{fill:var(--faint)}
.now{fill:none;stroke:var(--link);stroke-width:2.5} .axis{stroke:var(--line)}
.whole{white-space:nowrap}
"""


@dataclass(frozen=True)
class Comparison:
    """A column in the reference and in the window.

    Attributes:
        name: The column.
        labels: What each bin is, (k,).
        normal: Shares of the reference's known values, (k,); they sum to 1, or to 0 when there are none.
        now: Shares of the window's.
        change: The change in words.
    """

    name: str
    labels: tuple[str, ...]
    normal: tuple[float, ...]
    now: tuple[float, ...]
    change: str


def compare_column(reference: pd.Series, window: pd.Series, column: Column) -> Comparison:
    """Compare a column.

    Args:
        reference: Its values at training, (n,).
        window: Its values now, (m,).
        column: Says its name and its kind; numbers get bins, all else is categories.
    """
    compare = _numbers if column.kind in ("number", "integer") else _categories
    labels, normal, now, change = compare(reference.dropna(), window.dropna())
    missing = (float(reference.isna().mean()) if len(reference) else 0.0, float(window.isna().mean()))
    if max(missing) > 0 and len(window):
        change = f"{change}; missing {missing[0]:.1%} → {missing[1]:.1%}"
    return Comparison(column.name, tuple(labels), tuple(normal), tuple(now), change)


def _numbers(reference: pd.Series, window: pd.Series) -> tuple[list[str], Sequence[float], Sequence[float], str]:
    """Bins of equal width between the 1st and 99th percentile of both; what is beyond counts in the outermost."""
    before, now = (s.to_numpy(dtype=np.float64) for s in (reference, window))
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    if not len(before) or not len(now):
        return [], (), (), "no values to compare"
    ends = [np.quantile(values, (0.01, 0.99)) for values in (before, now)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    shares = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / len(v) for v in (before, now)]
    labels = [f"{number(a)} to {number(b)}" for a, b in pairwise(edges)]
    medians = [number(float(np.median(values))) for values in (before, now)]
    spans = [" to ".join(number(float(q)) for q in np.quantile(values, (0.05, 0.95))) for values in (before, now)]
    change = f"median {medians[0]} → {medians[1]}; 9 of 10 between {spans[0]} → {spans[1]}"
    return labels, shares[0].tolist(), shares[1].tolist(), change


def _categories(reference: pd.Series, window: pd.Series) -> tuple[list[str], Sequence[float], Sequence[float], str]:
    """The categories that are most frequent on either side, and all others together."""
    before, now = (s.astype(str).value_counts(normalize=True) for s in (reference, window))
    if before.empty or now.empty:
        return [], (), (), "no values to compare"
    both = pd.DataFrame({"before": before, "now": now}).fillna(0.0)
    shown = both.assign(most=both.max(axis=1)).sort_values("most", ascending=False, kind="stable")[["before", "now"]]
    rest = shown.iloc[MOST_CATEGORIES:].sum()
    shown = shown.iloc[:MOST_CATEGORIES]
    labels = [str(name) for name in shown.index]
    normal, current = shown["before"].tolist(), shown["now"].tolist()
    if len(both) > MOST_CATEGORIES:
        labels.append("all others")
        normal.append(float(rest["before"]))
        current.append(float(rest["now"]))
    return labels, normal, current, _changes(labels, normal, current)


def _changes(labels: Sequence[str], normal: Sequence[float], now: Sequence[float], most: int = 3) -> str:
    """The categories whose share changed most."""
    order = sorted(range(len(labels)), key=lambda i: -abs(now[i] - normal[i]))
    said = [
        f"{short(labels[i], 30)} {normal[i]:.0%} → {now[i]:.0%}{' (new)' if normal[i] == 0 else ''}"
        for i in order[:most]
        if abs(now[i] - normal[i]) >= LEAST_CHANGE
    ]
    return "; ".join(said) or "the same shares"


def draw(comparison: Comparison) -> str:
    """The picture: the reference as bars, the window as a line of steps; what it shows is said to screen readers too."""
    if not comparison.labels:
        return ""
    says = f"{comparison.name}: {comparison.change}"
    svg = ET.Element(
        "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": says, "preserveAspectRatio": "none"}
    )
    top = max(*comparison.normal, *comparison.now, 1e-9)
    step = WIDTH / len(comparison.labels)
    path: list[str] = []
    for place, (label, before, now) in enumerate(
        zip(comparison.labels, comparison.normal, comparison.now, strict=True)
    ):
        tall = before / top * (HEIGHT - 4)
        bar = {"x": place * step + 0.5, "y": HEIGHT - tall, "width": max(0.5, step - 1), "height": tall}
        rect = ET.SubElement(svg, "rect", {"class": "normal", **{k: f"{v:.1f}" for k, v in bar.items()}})
        ET.SubElement(rect, "title").text = f"{short(label)}: {before:.1%}, now {now:.1%}"
        y = HEIGHT - now / top * (HEIGHT - 4)
        path.append(f"{'L' if path else 'M'}{place * step:.1f},{y:.1f} L{(place + 1) * step:.1f},{y:.1f}")
    ET.SubElement(svg, "path", {"class": "now", "d": " ".join(path)})
    base = {"class": "axis", "x1": "0", "x2": str(WIDTH), "y1": str(HEIGHT), "y2": str(HEIGHT)}
    ET.SubElement(svg, "line", base)
    return ET.tostring(svg, encoding="unicode", short_empty_elements=False)
