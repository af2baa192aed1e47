"""What a judgement takes and what it gives: plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["input", "missing", "categories", "schema", "prediction", "target", "quality", "segment"]
Verdict = Literal["ok", "drift", "quality-loss", "insufficient-data", "invalid"]


@dataclass(frozen=True)
class Reference:
    """What was normal when a version was trained.

    Attributes:
        rows: Feature rows in time order, (n, columns); at most a few thousand.
        timed: Whether their order means time.
        losses: Losses of the newest rows, which the model that answered had not seen, (m,).
        loss_days: The day number of each of those rows (m,), or -1 each when there is no time.
        answers: The answers to the same m rows, (m,) or (m, classes); `None` if they were not kept.
        targets: Their encoded targets (m,); `None` if they were not kept.
        judged: The m rows themselves, (m, columns); `None` if it is not known which they were.
        matrices: Embeddings in time order by their name, each (n, width).
    """

    rows: pd.DataFrame
    timed: bool
    losses: np.ndarray
    loss_days: np.ndarray
    answers: np.ndarray | None = None
    targets: np.ndarray | None = None
    judged: pd.DataFrame | None = None
    matrices: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """The trivial baseline, which knows the targets of training and no feature.

    Attributes:
        normal: Its mean loss on the rows of the reference's losses.
        losses: Its losses on the window's labelled rows, (k,).
    """

    normal: float
    losses: np.ndarray


@dataclass(frozen=True)
class Window:
    """The newest predictions of one version.

    Attributes:
        rows: Feature rows in time order, (n, columns).
        losses: Losses of the labelled ones, (k,).
        loss_days: Their day numbers (k,).
        answers: What was answered, (n,) or (n, classes); `None` is not known.
        targets: Encoded labels (k,); `None` is not known.
        labelled: Feature rows of the labelled ones, (k, columns); `None` is not known.
        baseline: What the trivial baseline would lose on the labelled ones; `None` is not known.
        matrices: Embeddings by their name, each (n, width).
        loss: What a row's loss is, in words.
        covered: How many of the n rows have a label; labels of older rows judge the model, but not these. `None` is not
            known, and taken for enough.
    """

    rows: pd.DataFrame
    losses: np.ndarray
    loss_days: np.ndarray
    answers: np.ndarray | None = None
    targets: np.ndarray | None = None
    labelled: pd.DataFrame | None = None
    baseline: Baseline | None = None
    matrices: Mapping[str, np.ndarray] = field(default_factory=dict)
    loss: str = "loss"
    covered: int | None = None

    def judged_by(self, rows: np.ndarray) -> Window:
        """The same, judged by the losses of some labelled rows alone, a mask (k,)."""
        baseline = self.baseline and replace(self.baseline, losses=self.baseline.losses[rows])
        labelled = None if self.labelled is None else self.labelled[rows]
        days = self.loss_days[rows]
        return replace(self, losses=self.losses[rows], loss_days=days, labelled=labelled, baseline=baseline)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        kind: What kind of change this would be.
        name: The column, the slice, or what was answered.
        statistic: How far it is from the reference: a distance of 0 to 1; for quality and segments a ratio of losses.
        threshold: What the statistic must exceed.
        effect: The change in a unit that people know: standard deviations for numbers, shares of rows for the rest, the
            ratio of mean losses for quality and segments.
        drifted: Whether it exceeds, for certain or at least likely.
        certain: Whether one look alone is enough to say so.
        said: The finding in plain words.
        since: Event time of the first look of those without a gap that found it.
    """

    kind: Kind
    name: str
    statistic: float
    threshold: float
    effect: float
    drifted: bool
    certain: bool
    said: str
    since: datetime | None = None

    @property
    def key(self) -> str:
        """What names the finding from look to look."""
        return f"{self.kind}:{self.name}"

    @property
    def excess(self) -> tuple[bool, float]:
        """What findings of one thing are ranked by: those that drifted first, then how far above the threshold."""
        return self.drifted, self.statistic / max(self.threshold, 1e-12)


@dataclass(frozen=True)
class ColumnDrift:
    """How far one input moved, 0 to 1: whichever of its values, missing ones and categories moved most."""

    name: str
    statistic: float
    threshold: float
    drifted: bool


@dataclass(frozen=True)
class Quality:
    """Mean loss of the window against the reference.

    Attributes:
        reference: What was normal.
        window: What it is now.
        ratio: Of the two.
        lower: The least ratio that chance leaves standing.
        labelled: Rows with a label.
        baseline: The mean loss of the trivial baseline on the same rows; `None` is not known.
        useless: Whether the model is surely worse than that, and was not at training.
        loss: What a row's loss is, such as squared error.
        quiet_stretches: On how many quiet stretches of the reference, as long as the window's labels, the rule was tried;
            0 where it was not, since nothing was lost or the reference is too short.
        quiet_alarms: How many of them it calls lost.
    """

    reference: float
    window: float
    ratio: float
    lower: float
    labelled: int
    baseline: float | None = None
    useless: bool = False
    loss: str = "loss"
    quiet_stretches: int = 0
    quiet_alarms: int = 0


@dataclass(frozen=True)
class Look:
    """An earlier look at the same version: its event time, and the keys of what it found."""

    at: datetime
    found: frozenset[str]


@dataclass(frozen=True)
class Persistence:
    """In how many of the newest looks the change was seen, this one included; and in how many it must be."""

    looks: int
    of: int
    needed: int


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in plain words, and all that it stands on.

    Attributes:
        columns: One for each input that was compared.
        quality: `None` without enough labels.
        findings: Everything that was looked at, of every kind.
        false_alarm_rate: How often this rule calls a block of the reference drift that is as long as the window and was
            left out of its own calibration; `None` if there are too few rows to tell.
        quiet_blocks: How many blocks that was measured on.
        persistence: Of the verdict; `None` where nothing moved.
    """

    verdict: Verdict
    reason: str
    columns: tuple[ColumnDrift, ...] = ()
    quality: Quality | None = None
    findings: tuple[Finding, ...] = ()
    false_alarm_rate: float | None = None
    quiet_blocks: int = 0
    persistence: Persistence | None = None

    def figures(self) -> dict[str, Any]:
        """All of it as plain data; times are ISO 8601."""
        plain = asdict(self)
        for finding in plain["findings"]:
            finding["since"] = finding["since"].isoformat() if finding["since"] else None
        return plain
