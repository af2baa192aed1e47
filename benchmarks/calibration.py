"""How often the watch cries wolf, and what it misses: by window size, columns and kind of data, against Evidently's default.

`python -m benchmarks.calibration` simulates quiet windows and the same with a shift of half a sigma in two columns, judges
each by our rule and by Evidently's DataDriftPreset, and prints the tables of docs/drift.md; `--json` prints one object, and
a line a setting goes to stderr. A reference has 5,000 rows; a new one is drawn for every ten windows. `--only hourly` runs one kind,
`--windows` says how many.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from treadle.drift import Reference, Window, judge
from treadle.project import Watch
from treadle.settings import quiet_telemetry
from treadle.tables.schema import Column

REFERENCE_ROWS = 5000
WINDOWS_A_REFERENCE = 10
SHIFTED_SHARE = 0.2  # of the windows that are judged shifted too: power needs fewer than false alarms
SHIFT = 0.5
MOVED = 2
CELLS = 400_000  # values above which fewer windows are judged
WIDTH, TOPICS = 64, 8
CENTRES = np.random.default_rng(0).normal(0, 1.5, (TOPICS, WIDTH))
EQUAL, GROWN = [1 / TOPICS] * TOPICS, [0.3, *[0.1] * (TOPICS - 1)]
SHARES = 0.4, 0.25, 0.15, 0.1, 0.08, 0.02  # of categories
NO_LOSSES = np.empty(0), np.empty(0, dtype=np.int64)
WATCH = Watch(min_rows=30)


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    kind: str
    rows: int
    columns: int


ROWS = 30, 50, 100, 200, 300, 1000, 10_000, 100_000
SETTINGS = [
    *(
        Setting(kind, rows, 10)
        for kind in ("numbers", "categories", "high cardinality", "hourly", "daily")
        for rows in ROWS
    ),
    *(Setting("numbers", rows, 1) for rows in (30, 100, 300, 1000, 10_000, 100_000)),
    *(Setting("categories", rows, 1) for rows in (30, 300, 1000, 10_000)),
    *(Setting(kind, rows, 1) for kind in ("high cardinality", "hourly", "daily") for rows in (30, 300, 1000)),
    *(Setting("embedding", rows, 1) for rows in ROWS),
    *(Setting("hourly categories", rows, 10) for rows in ROWS[:-1]),
    *(Setting("hourly embedding", rows, 1) for rows in ROWS[:-1]),
    *(Setting("mixed", rows, 40) for rows in ROWS[:-1]),
    *(Setting("numbers", rows, 200) for rows in (30, 300, 1000, 100_000)),
    *(Setting("categories", rows, 200) for rows in (30, 300)),
    *(Setting(kind, 300, 200) for kind in ("high cardinality", "hourly", "daily")),
]


@dataclass(frozen=True)
class Result:
    """What was measured: shares of windows, and of columns named.

    Attributes:
        windows: Quiet windows judged; a fifth of them shifted too.
        false_alarms: Share of the quiet ones that are called drift at one look.
        likely: Share of the quiet ones in which anything at all is found, certain or only likely.
        power: Share of the shifted ones that are called drift at one look; `None` where nothing was shifted.
        recall: Share of the shifted columns that are named.
        precision: Share of the named columns that were shifted.
        evidently: `windows`, `false_alarms` and `power` of Evidently's dataset verdict, and `any_column` on quiet windows.
    """

    setting: Setting
    windows: int
    false_alarms: float
    likely: float
    power: float
    recall: float
    precision: float | None
    cpu_ms: float
    evidently: dict[str, float] | None


Stream = Callable[[int, int, np.random.Generator, int], pd.DataFrame]
"""Rows, columns, chance, and the hour at which the stream begins, to a table."""


def numbers(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:  # noqa: ARG001
    """Independent normal values."""
    return _table(rng.standard_normal((rows, columns)))


def categories(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:  # noqa: ARG001
    """Independent categories, six to a column, one rare."""
    return _labels(rng.choice(len(SHARES), (rows, columns), p=SHARES))


def high_cardinality(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:  # noqa: ARG001
    """Independent categories by Zipf's law, some of them always new."""
    return _labels(rng.zipf(1.3, (rows, columns)) % 50_000)


def hourly(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:  # noqa: ARG001
    """Hours that depend on the one before (a first-order autoregression of 0.9)."""
    from scipy.signal import lfilter

    noise = rng.standard_normal((rows + 100, columns)) * np.sqrt(1 - 0.9**2)
    return _table(lfilter([1], [1, -0.9], noise, axis=0)[100:])


def daily(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:
    """The same with a daily wave of twice its deviation, each column at another hour."""
    at = (hour + np.arange(rows))[:, None] / 24 + np.arange(columns) / 7
    return hourly(rows, columns, rng, hour) + 2 * np.sin(2 * np.pi * at)


def hourly_categories(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:
    """Categories that stay for hours: `hourly`, cut where six categories have the same shares as independent ones."""
    return _labels(_cut(hourly(rows, columns, rng, hour).to_numpy(), SHARES))


def _cut(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Normal values as the number of a part, of which each has its share."""
    from scipy.stats import norm

    return np.searchsorted(norm.ppf(np.cumsum(shares[:-1])), values)


def mixed(rows: int, columns: int, rng: np.random.Generator, hour: int) -> pd.DataFrame:
    """Numbers, some of them missing, then categories of both kinds; a quarter each of the last two."""
    some = columns // 4
    left = numbers(rows, columns - 2 * some, rng, hour)
    left = left.mask(rng.random(left.shape) < 0.03)
    parts = [left, categories(rows, some, rng, hour), high_cardinality(rows, some, rng, hour)]
    return pd.concat(parts, axis=1).set_axis([f"x{i}" for i in range(columns)], axis=1)


STREAMS: dict[str, Stream] = {
    "numbers": numbers, "categories": categories, "high cardinality": high_cardinality, "hourly": hourly,
    "daily": daily, "hourly categories": hourly_categories, "mixed": mixed,
}  # fmt: skip


def _table(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


def _labels(values: np.ndarray) -> pd.DataFrame:
    return _table(values).astype("str").map("c{}".format).astype("str")


def shifted(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The first two columns moved: numbers by half of their deviation, of categories a fifth of the rows to the first one."""
    moved = {}
    for name in table.columns[:MOVED]:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values):
            moved[name] = values + SHIFT * float(values.std())
        else:
            moved[name] = values.mask(rng.random(len(values)) < 0.2, "c1")
    return table.assign(**moved)


def texts(rows: int, rng: np.random.Generator, shares: Sequence[float] = EQUAL) -> np.ndarray:
    """Embeddings (rows, WIDTH) about some topics."""
    return CENTRES[rng.choice(TOPICS, rows, p=shares)] + rng.standard_normal((rows, WIDTH))


def hourly_texts(rows: int, rng: np.random.Generator, shares: Sequence[float] = EQUAL) -> np.ndarray:
    """The same whose topics and words stay for hours."""
    topics = _cut(hourly(rows, 1, rng, 0).to_numpy()[:, 0], shares)
    return CENTRES[topics] + hourly(rows, WIDTH, rng, 0).to_numpy()


EMBEDDINGS = {"embedding": texts, "hourly embedding": hourly_texts}


def cases(setting: Setting, windows: int) -> Iterator[tuple[Reference, Window, Window]]:
    """References with a quiet and a shifted window each."""
    rng = np.random.default_rng([setting.rows, setting.columns, len(setting.kind)])
    timed = setting.kind.startswith(("hourly", "daily"))
    reference = None
    for number in range(windows):
        if number % WINDOWS_A_REFERENCE == 0 or reference is None:
            reference = _reference(setting, rng, timed=timed)
        hour = REFERENCE_ROWS + int(rng.integers(0, 10_000))
        draw = EMBEDDINGS.get(setting.kind)
        if draw is not None:
            index = pd.DataFrame(index=range(setting.rows))
            pair = (draw(setting.rows, rng), draw(setting.rows, rng, GROWN))
            yield reference, *(Window(index, *NO_LOSSES, matrices={"x0": matrix}) for matrix in pair)
        else:
            quiet = STREAMS[setting.kind](setting.rows, setting.columns, rng, hour)
            yield reference, Window(quiet, *NO_LOSSES), Window(shifted(quiet, rng), *NO_LOSSES)


def _reference(setting: Setting, rng: np.random.Generator, *, timed: bool) -> Reference:
    draw = EMBEDDINGS.get(setting.kind)
    if draw is not None:
        rows = pd.DataFrame(index=range(REFERENCE_ROWS))
        return Reference(rows, timed, *NO_LOSSES, matrices={"x0": draw(REFERENCE_ROWS, rng)})
    return Reference(STREAMS[setting.kind](REFERENCE_ROWS, setting.columns, rng, 0), timed, *NO_LOSSES)


def columns_of(reference: Reference) -> list[Column]:
    """The columns as a schema names them."""
    return [
        Column(name=str(name), kind="number" if pd.api.types.is_numeric_dtype(values) else "category")
        for name, values in reference.rows.items()
    ]


def measure(setting: Setting, windows: int, theirs: int) -> Result:
    """Judge quiet and shifted windows of one setting."""
    few = max(20, min(windows, int(windows * CELLS / (setting.rows * setting.columns))))
    twice = max(theirs, round(few * SHIFTED_SHARE))
    alarms = likely = hits = named = right = looks = 0
    spent = 0.0
    given: list[tuple[bool, bool, bool]] = []
    for number, (reference, quiet, moved) in enumerate(cases(setting, few)):
        columns = columns_of(reference)
        begun = time.process_time()
        calm = judge(reference, quiet, columns, WATCH)
        alarms += calm.verdict != "ok"
        likely += any(f.drifted for f in calm.findings)
        if number < twice:
            found = judge(reference, moved, columns, WATCH)
            hits += found.verdict == "drift"
            names = {f.name for f in found.findings if f.drifted}
            named += len(names)
            right += len(names & {f"x{i}" for i in range(MOVED)})
        spent += time.process_time() - begun
        looks += 1 + (number < twice)
        if number < theirs and setting.kind not in EMBEDDINGS:
            given.append((*_evidently(reference, quiet), _evidently(reference, moved)[0]))
    twice = min(twice, few)
    return Result(
        setting, few, alarms / few, likely / few, hits / twice, right / (min(MOVED, setting.columns) * twice),
        right / named if named else None, 1000 * spent / looks, _their_figures(given),
    )  # fmt: skip


def _their_figures(given: list[tuple[bool, bool, bool]]) -> dict[str, float] | None:
    if not given:
        return None
    quiet, any_column, moved = (float(np.mean(part)) for part in zip(*given, strict=True))
    return {"windows": len(given), "false_alarms": quiet, "any_column": any_column, "power": moved}


def _evidently(reference: Reference, window: Window) -> tuple[bool, bool]:
    """Evidently's default: whether it calls the data set drifted (half of the columns), and whether any column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = columns_of(reference)
    kinds = DataDefinition(
        numerical_columns=[c.name for c in columns if c.kind == "number"],
        categorical_columns=[c.name for c in columns if c.kind == "category"],
    )
    now, before = (Dataset.from_pandas(rows, data_definition=kinds) for rows in (window.rows, reference.rows))
    drifted: Any = Report([DataDriftPreset()]).run(now, before).dict()["metrics"][0]["value"]
    return bool(drifted["share"] >= 0.5), bool(drifted["count"] > 0)


def _line(result: Result) -> str:
    s, e = result.setting, result.evidently
    precision = "-" if result.precision is None else f"{result.precision:.1%}"
    other = (
        f"; Evidently, {e['windows']:.0f} windows: {e['false_alarms']:.0%}, any column {e['any_column']:.0%}, power {e['power']:.0%}"
        if e
        else ""
    )
    return (
        f"{s.kind}, {s.rows:,} rows, {s.columns} columns, {result.windows} windows: {result.false_alarms:.1%} false alarms, "
        f"{result.likely:.1%} found likely, power {result.power:.0%}, moved columns named {result.recall:.0%}, "
        f"of the named moved {precision}, {result.cpu_ms:.0f} ms{other}"
    )


def tables(results: Sequence[Result]) -> str:
    """The tables of docs/drift.md: a row a kind of data and number of columns, a column a length of window."""
    sizes = sorted({result.setting.rows for result in results})
    head = f"| data | columns | {' | '.join(f'{rows:,}' for rows in sizes)} |\n{'|---' * (2 + len(sizes))}|"
    return "\n\n".join("\n".join([head, *_rows(results, sizes, cell)]) for cell in (_ours, _theirs))


def _rows(results: Sequence[Result], sizes: Sequence[int], cell: Callable[[Result], str]) -> Iterator[str]:
    """A table's lines; one that would be empty is left out."""
    for kind, columns in dict.fromkeys((r.setting.kind, r.setting.columns) for r in results):
        found = {r.setting.rows: cell(r) for r in results if (r.setting.kind, r.setting.columns) == (kind, columns)}
        if any(found.values()):
            yield f"| {kind} | {columns} | {' | '.join(found.get(rows, '') for rows in sizes)} |"


def _ours(result: Result) -> str:
    return f"{100 * result.false_alarms:.1f} / {100 * result.power:.0f}"


def _theirs(result: Result) -> str:
    e = result.evidently
    return (
        "" if e is None else " / ".join(f"{100 * e[figure]:.0f}" for figure in ("false_alarms", "any_column", "power"))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=500, help="quiet windows of each setting")
    parser.add_argument("--evidently", type=int, default=40, help="of them judged by Evidently too; 0 for none")
    parser.add_argument("--only", help="one kind of data")
    parser.add_argument("--rows", type=int, help="windows of so many rows alone")
    parser.add_argument("--columns", type=int, help="so many columns alone")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    quiet_telemetry()
    results = []
    for setting in SETTINGS:
        wanted = (given.only, setting.kind), (given.rows, setting.rows), (given.columns, setting.columns)
        if all(asked in (None, here) for asked, here in wanted):
            theirs = min(given.evidently, int(given.evidently * CELLS / 10 / (setting.rows * setting.columns)))
            results.append(measure(setting, given.windows, theirs))
            print(_line(results[-1]), file=sys.stderr, flush=True)
    print(json.dumps([asdict(result) for result in results]) if given.json else tables(results))


if __name__ == "__main__":
    main()
