"""The benchmark's figures as a table, and beside the figures that Treadle set itself."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.load import Sample

Point = tuple[int, int]
POINTS: Sequence[Point] = ((1, 1), (1, 8), (1, 64), (100, 8), (1000, 4))
"""Rows a request, and callers."""
SINGLE: Sequence[Point] = list(POINTS[:3])
MLFLOW_TIMES = 60
ECHO_SHARE = {(1, 1): 0.45, (1, 8): 0.45, (1, 64): 0.60}
LEDGER_COST = {(1, 1): 0.15, (1, 8): 0.10, (1, 64): 0.10}
COLD_START_S, WORKER_MIB, P99_MS = 2.0, 150.0, 15.0
FEWEST_ROUNDS = 5
RIVALS = ("mlflow", "mlflow-1-thread", "mlserver", "bentoml", "litserve", "fastapi-sklearn")


@dataclass(frozen=True)
class Figures:
    """What was measured of one server.

    Attributes:
        cold_start_s: From its start to its first answer.
        worker_mib: Resident memory of its largest process.
        together_mib: Memory of all its processes, shared pages once.
        rounds: Each round's sample, by rows and callers.
    """

    cold_start_s: float
    worker_mib: float
    together_mib: float
    rounds: Mapping[Point, Sequence[Sample]]

    @cached_property
    def points(self) -> dict[Point, Sample]:
        """Medians over the rounds."""
        return {point: _median(samples) for point, samples in self.rounds.items()}


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        per_second=statistics.median(s.per_second for s in samples),
        cpu_ms=statistics.median(s.cpu_ms for s in samples),
        p99_ms=statistics.median(s.p99_ms for s in samples),
        failed=sum(s.failed for s in samples),
    )


def render(figures: Mapping[str, Figures]) -> str:
    """The whole report, in Markdown."""
    lines = [_table(figures), "", "CPU a request, ms; latency p99 at 64 callers, ms; requests that failed", ""]
    lines += [_costs(figures), "", *_targets(figures)]
    return "\n".join(lines)


def _table(figures: Mapping[str, Figures]) -> str:
    heads = [
        "requests/s at (rows, callers)",
        "cold start s",
        "worker MiB",
        "all MiB",
        *(f"({r}, {c})" for r, c in POINTS),
    ]
    rows = [
        [name, f"{f.cold_start_s:.1f}", f"{f.worker_mib:.0f}", f"{f.together_mib:.0f}"]
        + [f"{f.points[point].per_second:,.0f}" for point in POINTS]
        for name, f in figures.items()
    ]
    return _markdown(heads, rows)


def _costs(figures: Mapping[str, Figures]) -> str:
    heads = ["server", *(f"({r}, {c})" for r, c in POINTS), "p99", "failed"]
    rows = []
    for name, f in figures.items():
        failed = sum(sample.failed for sample in f.points.values())
        cpu = [f"{f.points[point].cpu_ms:.3g}" for point in POINTS]
        rows.append([name, *cpu, f"{f.points[1, 64].p99_ms:.1f}", str(failed)])
    return _markdown(heads, rows)


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _targets(figures: Mapping[str, Figures]) -> list[str]:
    """A line for each figure that was promised; those whose servers were left out are not there."""
    ours = figures["treadle"]
    lines = []
    for name in ("mlflow", "mlflow-1-thread"):
        if name in figures:
            times = _ratios(ours, figures[name], SINGLE)
            lines.append(
                _said(f"times {name}", times, "{:.0f}×", {p: times[p] >= MLFLOW_TIMES for p in SINGLE}, "≥ 60×")
            )
    if "echo" in figures:
        share = _ratios(ours, figures["echo"], SINGLE)
        good = {p: share[p] >= ECHO_SHARE[p] for p in SINGLE}
        lines.append(_said("of a raw echo", share, "{:.0%}", good, "≥ 45 %, 45 %, 60 %"))
    if "treadle-no-ledger" in figures:
        without = figures["treadle-no-ledger"]
        cost = {p: 1 - ratio for p, ratio in _ratios(ours, without, SINGLE).items()}
        good = {p: cost[p] <= LEDGER_COST[p] for p in SINGLE}
        lines.append(_said("for the ledger", cost, "{:.0%}", good, "≤ 15 %, 10 %, 10 %"))
        lines += _middle_half("for the ledger", ours, without)
    for name in (name for name in RIVALS if name in figures):
        times = _ratios(ours, figures[name], POINTS)
        lines.append(_said(f"ahead of {name}", times, "{:.1f}×", {p: times[p] > 1 for p in POINTS}, "> 1× everywhere"))
    lines.append(_one("cold start", ours.cold_start_s, "s", COLD_START_S))
    lines.append(_one("memory of one worker", ours.worker_mib, "MiB", WORKER_MIB))
    lines.append(_one("p99 at 64 callers", ours.points[1, 64].p99_ms, "ms", P99_MS))
    return lines


def _ratios(ours: Figures, theirs: Figures, points: Sequence[Point]) -> dict[Point, float]:
    """Requests a second, ours by theirs: the median over the rounds, since the two of a round met the same machine."""
    return {p: statistics.median(_by_round(ours, theirs, p)) for p in points}


def _by_round(ours: Figures, theirs: Figures, point: Point) -> list[float]:
    """Ours by theirs in each round; huge where they answered none."""
    pairs = zip(ours.rounds[point], theirs.rounds[point], strict=True)
    return [mine.per_second / (other.per_second or 1e-9) for mine, other in pairs]


def _middle_half(what: str, ours: Figures, theirs: Figures) -> list[str]:
    """Between which costs half of the rounds lie, where there are enough of them to tell."""
    by_point = {point: _by_round(ours, theirs, point) for point in SINGLE}
    rounds = min(map(len, by_point.values()))
    if rounds < FEWEST_ROUNDS:
        return []
    cells = []
    for (r, c), ratios in by_point.items():
        high, _, low = statistics.quantiles(ratios, n=4, method="inclusive")
        cells.append(f"({r}, {c}) {1 - low:.0%} to {1 - high:.0%}")
    return [f"- {what}, half of the {rounds} rounds: {'; '.join(cells)}"]


def _said(what: str, values: Mapping[Point, float], form: str, good: Mapping[Point, bool], target: str) -> str:
    cells = [f"({r}, {c}) {form.format(values[r, c])}{'' if good[r, c] else ' MISSED'}" for r, c in values]
    return f"- {what}: {'; '.join(cells)} (target {target})"


def _one(what: str, value: float, unit: str, most: float) -> str:
    return f"- {what}: {value:.1f} {unit}{'' if value < most else ' MISSED'} (target < {most:g} {unit})"
