"""How often the duel lets a worse challenger pass, measured: `python -m benchmarks.duel [TRIALS [WAY …]]`.

Champion and challenger answer the same simulated rows: hourly, with days that are easier or harder for both. The way in which
the challenger is worse is exact, so what should happen is known. Prints the share promoted by the gate
alone, by the duel, and where the champion is replaced at every window.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from treadle.problems import load_problem
from treadle.project import Promote
from treadle.promotion.bout import Bout
from treadle.promotion.duel import Duel, hold_duel
from treadle.tables.schema import Column, Schema

DAYS, HOURS = 14, 24
HELD_DAYS = 12
REGRESSION = Schema(columns=(Column(name="plan", kind="category"), Column(name="size", kind="number")), target="y")
CLASSES = Schema(columns=REGRESSION.columns, target="y", classes=("no", "yes"))


@dataclass(frozen=True)
class Rows:
    """Simulated rows, and how strong the signal in each is for a class."""

    frame: pd.DataFrame
    days: np.ndarray
    hard: np.ndarray
    truth: np.ndarray


def rows_of(days: int, rng: np.random.Generator) -> Rows:
    """Hours of some days; how hard a day is is shared by its hours."""
    n = days * HOURS
    frame = pd.DataFrame(
        {"plan": rng.choice(["basic", "plus", "pro"], n, p=[0.5, 0.3, 0.2]), "size": rng.normal(0, 1, n)}
    )
    day = np.repeat(np.arange(days), HOURS)
    hard = np.exp(rng.normal(0, 0.3, days))[day]
    return Rows(frame, day, hard, rng.normal(0, 5, n))


def regression(rows: Rows, rng: np.random.Generator, worse: float, slice_worse: float = 0.0) -> Bout:
    """Both miss by much the same; the challenger's own part of the miss makes its mean error larger by `worse`."""
    n = len(rows.days)
    shared, own = rng.normal(0, 1, n), rng.normal(0, 1, (2, n))
    common = np.sqrt(0.7)
    misses = [rows.hard * (common * shared + np.sqrt(0.3) * part) for part in own]
    pro = (rows.frame["plan"] == "pro").to_numpy()
    scale = np.where(pro, 1 + slice_worse, 1 + worse)
    return Bout(rows.truth, rows.truth + misses[0], rows.truth + scale * misses[1], rows.frame, rows.days)


def classification(
    rows: Rows, rng: np.random.Generator, flipped: float, *, learned: float, block: bool,
    misses: tuple[float, float] = (0.1, 0.1),
) -> Bout:  # fmt: skip
    """A champion that learned clean labels against one that learned from `learned` wrong ones.

    Args:
        rows: The rows.
        rng: Where chance comes from.
        flipped: Share of these rows whose labels one key gave and turned round.
        learned: Share of wrong labels that the challenger believes in.
        block: Whether the key's rows are all of one plan and size; else they are any.
        misses: How far the champion's answers are off, and the challenger's, in standard deviations of log odds.
    """
    n = len(rows.days)
    chance = 1 / (1 + np.exp(-(1.2 * rows.truth / 2)))
    y = (rng.random(n) < chance).astype(int)
    mine = ((rows.frame["plan"] == "pro") if block else pd.Series(rng.random(n) < 0.2)).to_numpy()
    said = np.where(mine & (flipped > 0), 1 - y, y)
    noise = np.array(misses)[:, None] * rng.normal(0, 1, (2, n))
    clean = 1 / (1 + np.exp(-(np.log(chance / (1 - chance)) + noise[0])))
    own = 1 / (1 + np.exp(-(np.log(chance / (1 - chance)) + noise[1])))
    believed = np.where(mine, 1 - own, own) if block else own * (1 - learned) + (1 - own) * learned
    answers = [np.column_stack([1 - p, p]) for p in (clean, believed)]
    givers = np.where(mine, "k-bad", np.where(rng.random(n) < 0.5, "k-1", "k-2"))
    return Bout(said, answers[0], answers[1], rows.frame, rows.days, givers)


Trial = Callable[[np.random.Generator], tuple[Bout, Bout, str, str]]


def _numbers(worse: float, slice_worse: float | None = None) -> Trial:
    def trial(rng: np.random.Generator) -> tuple[Bout, Bout, str, str]:
        own = worse if slice_worse is None else slice_worse
        newest = regression(rows_of(DAYS, rng), rng, worse, own)
        return newest, regression(rows_of(HELD_DAYS, rng), rng, worse, own), "tabular-regression", "mae"

    return trial


def _poisoned(metric: str, *, block: bool, known: bool) -> Trial:
    def trial(rng: np.random.Generator) -> tuple[Bout, Bout, str, str]:
        newest = classification(rows_of(DAYS, rng), rng, 0.2, learned=0.2, block=block)
        held = classification(rows_of(HELD_DAYS, rng), rng, 0.0, learned=0.2, block=block)
        bouts = (newest if known else replace(newest, givers=None), replace(held, givers=None))
        return *bouts, "tabular-classification", metric

    return trial


def _honest(metric: str, misses: tuple[float, float]) -> Trial:
    def trial(rng: np.random.Generator) -> tuple[Bout, Bout, str, str]:
        newest, held = (
            classification(rows_of(days, rng), rng, 0.0, learned=0.0, block=False, misses=misses)
            for days in (DAYS, HELD_DAYS)
        )
        return newest, replace(held, givers=None), "tabular-classification", metric

    return trial


WAYS: dict[str, Trial] = {
    "better by 10 %": _numbers(-0.10),
    "better by 5 %": _numbers(-0.05),
    "equal": _numbers(0.0),
    "worse by 1 %": _numbers(0.01),
    "worse by 2 %": _numbers(0.02),
    "worse by 5 %": _numbers(0.05),
    "worse by 10 %": _numbers(0.10),
    "worse by 25 %": _numbers(0.25),
    "better by 10 %, but twice as bad on a fifth": _numbers(-0.25, 1.0),
    "20 % of labels flipped by one key, any rows, log loss": _poisoned("log_loss", block=False, known=True),
    "the same, accuracy": _poisoned("accuracy", block=False, known=True),
    "the same, AUC": _poisoned("auc", block=False, known=True),
    "the same, log loss, keys not known": _poisoned("log_loss", block=False, known=False),
    "20 % flipped by one key, all of one kind, log loss": _poisoned("log_loss", block=True, known=True),
    "the same, keys not known": _poisoned("log_loss", block=True, known=False),
    "classes, three honest keys, better, accuracy": _honest("accuracy", (2.5, 1.5)),
    "the same, better, AUC": _honest("auc", (1.5, 0.8)),
    "the same, equal, accuracy": _honest("accuracy", (0.8, 0.8)),
    "the same, equal, AUC": _honest("auc", (0.8, 0.8)),
}


def run(trial: Trial, seed: int, rules: Promote, samples: int = 1000) -> Duel:
    """One duel."""
    newest, held, problem, metric = trial(np.random.default_rng(seed))
    schema = REGRESSION if problem.endswith("regression") else CLASSES
    return hold_duel(newest, held, load_problem(problem), metric, schema, rules, seed=seed, samples=samples)


def _gates(duels: Sequence[Duel]) -> int:
    return sum(duel.gate.promote for duel in duels)


def _duels(duels: Sequence[Duel]) -> int:
    return sum(duel.promote for duel in duels)


def main(arguments: Sequence[str]) -> None:
    """Print the table, at two confidences and for the policy `every-window`."""
    trials = int(arguments[0]) if arguments else 200
    columns = ("gate .9", "duel .9", "gate .95", "duel .95", "windows")
    print(f"{f'of {trials} trials, promoted by':<62}" + "".join(f"{column:>9}" for column in columns))
    for name, trial in ((name, WAYS[name]) for name in arguments[1:] or WAYS):
        duels = [run(trial, seed, Promote(confidence=0.9), 400) for seed in range(trials)]
        passed = [seed for seed in range(trials) if duels[seed].gate.promote]  # who fails at .9 fails at .95
        surer = [run(trial, seed, Promote(confidence=0.95), 400) for seed in passed]
        counts = [count for some in (duels, surer) for count in (_gates(some), _duels(some))]
        counts.append(_duels([duel.unless_worse() for duel in duels]))
        print(f"{name:<62}" + "".join(f"{count:>9}" for count in counts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
