"""A project: one YAML file and its data, the one thing that a team wants to predict.

Typed, frozen, with a default for everything but the name, the problem, the source and the target. Reads and checks
the file; knows nothing of what is done with it.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from treadle.durations import Duration, Interval
from treadle.errors import BadProject, NotFound, nearest
from treadle.settings import Settings

NAME = re.compile(r"^[a-z][a-z0-9-]{0,62}$")
KINDS = ("number", "integer", "boolean", "category", "datetime", "text", "identifier", "constant")
Kind = Literal["number", "integer", "boolean", "category", "datetime", "text", "identifier", "constant"]

RetrainPolicy = Literal["treadle", "every-window", "static"]
AlertKind = Literal[
    "drift", "quality-loss", "invalid", "not-served", "rolled-back", "train-failed", "approval", "retrain-stopped"
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Data(_Part):
    """Where the rows are and what their columns mean."""

    source: str
    """A file (CSV, Parquet, JSON Lines) relative to the project's folder, a SQLAlchemy URL, or an fsspec URL."""
    query: str | None = None
    """The SQL query, when `source` is a SQLAlchemy URL."""
    target: str
    """The column to predict."""
    time: str | None = None
    """The column of event times; the split and the windows follow it. Times without a zone are taken for UTC."""
    group: str | None = None
    """Rows with one value of this column never straddle a split."""
    ignore: tuple[str, ...] = ()
    """Columns that models must not see (leaks, identifiers)."""
    types: dict[str, Kind] = {}
    """Kinds of the columns that inference got wrong."""


class Validate(_Part):
    """What the rows must satisfy before they are learned from."""

    suite: str = "expectations.json"
    """The expectations, in the project's folder; written at the first run, then edited by people."""
    on_failure: Literal["quarantine", "stop"] = "quarantine"
    """Set bad rows aside with the reason, or stop at the first."""
    max_bad_share: float = Field(default=0.05, ge=0, le=1)
    """Share of bad rows above which the run stops."""


class Label(_Part):
    """Labels that do not come with the table."""

    rules: tuple[str, ...] = ()
    """Import paths of labeling functions, `module:function`; relative to the project's folder first."""
    audit: bool = True
    """Look for labels that are likely wrong (cleanlab) and list them."""


class Split(_Part):
    """How rows are divided, before anything is learned."""

    test: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of the rows that judge the model and decide; the newest when there is a time column."""
    valid: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of the remaining rows that tuning compares trials on; the newest of them when there is a time column."""
    holdout: float = Field(default=0.1, ge=0, lt=0.5)
    """Share of the first run's rows that is frozen: no model ever learns from it. Reported beside every decision."""
    seed: int = 0
    """Seed of the split, the search and the fit."""


class Tune(_Part):
    """The search over families and their parameters; ends at `trials` or `minutes`, whichever comes first."""

    trials: int = Field(default=30, ge=1)
    """Trials of a full search."""
    minutes: float = Field(default=5, gt=0)
    """Wall-clock minutes of a search."""
    workers: int = Field(default=2, ge=1, le=64)
    """Processes that search at once."""
    retrain_trials: int = Field(default=4, ge=1)
    """Trials of a retrain, which starts from the champion's parameters."""


class Train(_Part):
    """What is trained."""

    families: tuple[str, ...] = ("gradient-boosting", "linear")
    """The families that the search chooses among: `gradient-boosting`, `linear`, `forest`, `mlp`."""


class Fairness(_Part):
    """A floor under how unevenly a version may treat the groups of one column."""

    group: str
    """The column whose values are the groups; it may be one that models do not see (`data.ignore`)."""
    floor: float = Field(default=0.8, gt=0, le=1)
    """The worst group's figure over the best group's: for classes the share of a class that is recognised (equal
    opportunity, for each class), for numbers the best group's mean loss over the worst group's."""


class Probation(_Part):
    """How long a new champion is compared, by labels, with the one before it."""

    labels: int = Field(default=1000, ge=0)
    """It has stood its probation after so many labelled predictions; 0 is no probation."""
    time: Duration = timedelta(days=30)
    """Or after so much event time, whichever comes first."""


class Promote(_Part):
    """When a challenger replaces the champion."""

    metric: str | None = None
    """The metric that tunes and decides; the problem's default when left out."""
    min_gain: float = 0.0
    """The challenger must be better than the champion by more than this, in the metric's unit."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """How sure a paired bootstrap must be that the challenger is better by more than `min_gain`."""
    fairness: Fairness | None = None
    """A group and a floor; a challenger below it is refused, unless the champion is more uneven still."""
    probation: Probation = Probation()
    """When a new champion is rolled back by itself because labels say that the one before was better."""
    approval: Literal["auto", "human"] = "auto"
    """`human`: a promote run waits for a person in the Prefect UI; a shadow or canary waits for `treadle release advance`."""


class Serve(_Part):
    """How the model answers."""

    challenger: Literal["off", "shadow", "canary"] = "off"
    """What a challenger that passed the gate is first: `off` champion at once; `shadow` it answers beside the champion
    and nobody sees it; `canary` it answers a share of the callers."""
    canary_percent: float = Field(default=10, gt=0, le=100)
    """Percent of the callers that a canary answers."""
    min_answers: int = Field(default=500, ge=1)
    """Rows that a shadow or canary must have answered before it becomes champion."""
    min_time: Duration = timedelta(minutes=10)
    """For how long it must have run by then."""
    max_failures: float = Field(default=0.02, ge=0, le=1)
    """Share of requests that it may fail; above it, it is rolled back."""
    deadline_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds in which it must answer; then its process is killed, and a canary's caller gets the champion's answer."""


class Privacy(_Part):
    """What the ledger keeps of a row."""

    columns: dict[str, Literal["keep", "hash", "drop"]] = {}
    """By column: `keep` the value (as for all that are not named), `hash` keeps a pseudonym, `drop` nothing."""
    subject: str | None = None
    """The column that says whose a row is; `treadle erase` removes by it."""

    @property
    def redacted(self) -> dict[str, str]:
        """The columns whose values the ledger does not have."""
        return {name: how for name, how in self.columns.items() if how != "keep"}

    @property
    def personal(self) -> frozenset[str]:
        """The columns of which a version shows no value: what the ledger does not have, and whose a row is."""
        return frozenset(self.redacted) | frozenset(filter(None, [self.subject]))


class Watch(_Part):
    """How the model is watched."""

    every: Interval = timedelta(hours=1)
    """How often the watch flow runs."""
    window: int = Field(default=1000, ge=30)
    """The newest predictions that one look covers, rows."""
    min_rows: int = Field(default=100, ge=30)
    """Fewer predictions than this are `insufficient-data`."""
    min_labelled: int = Field(default=50, ge=20)
    """From so many labelled rows on, quality decides and not the inputs."""
    looks: int = Field(default=3, ge=1, le=50)
    """What one look finds likely, but not certain, is drift once `needed` of the newest `looks` looks found it."""
    needed: int = Field(default=2, ge=1, le=50)
    """See `looks`; 1 believes every look at once, and what is certain never waits."""


class Retrain(_Part):
    """When a retrain starts, and whether its challenger has to win."""

    policy: RetrainPolicy = "treadle"
    """`treadle`: on a verdict, and the challenger has to beat the champion; `every-window`: whenever `every` has passed, and the
    challenger answers unless it is shown to be worse; `static`: never by itself. `treadle replay` says which pays."""
    every: Interval = timedelta(days=1)
    """With `every-window`, the event time between two retrains."""
    follow: float | None = Field(default=None, gt=0, le=0.5)
    """With `treadle`, once labels have shown a loss and a challenger has won its duel: learn again as the labelled rows grow, without
    a new verdict and without a duel, as long as labels show that it pays. A refit each time they have grown by this share, or, where
    versions can be updated, by twice as much with updates in between. Empty: a verdict each time."""
    cooldown: Duration = timedelta(hours=6)
    """Least event time between two retrains."""
    max_per_day: int = Field(default=4, ge=1)
    """Most retrains in 24 hours of event time."""
    min_new_labels: int = Field(default=50, ge=1)
    """New labelled rows since the champion's data without which a retrain is pointless."""
    min_harm: float = Field(default=0.02, ge=0)
    """Moved inputs that are likely to raise the loss by less than this share of it are reported and retrain nothing."""
    max_rejected: int = Field(default=3, ge=1)
    """Challengers turned down in a row after which the breaker opens: no retrain for a while."""
    breaker_time: Duration = timedelta(days=3)
    """Event time after which an open breaker lets one retrain through."""
    breaker_labels: int = Field(default=500, ge=1)
    """Labels after which it does so before its time."""
    suspect_window: Duration = timedelta(days=7)
    """How far back one key's labels are compared with those of the other keys."""
    suspect_excess: float = Field(default=0.15, gt=0, le=1)
    """A key whose labels contradict the model on so much more of its rows than the other keys' do is set aside."""
    max_key_share: float = Field(default=0.5, gt=0, le=1)
    """A key that suddenly gives a larger share of the labels is allowed half of that excess."""
    history: Literal["auto", "all", "weighted"] | Duration = "auto"
    """What is learned from: `all`; a duration before the newest row; `weighted`, all of it by age with a half-life found by
    back-testing; or `auto`, the best of these by back-testing on the project's own past."""


class Alerts(_Part):
    """What people are told of. Where to is a matter of the machine, since channels hold secrets (docs/alerts.md)."""

    kinds: tuple[AlertKind, ...] = get_args(AlertKind)
    """What is told; all other alerts are only listed."""
    severity: Literal["info", "warning", "critical"] = "warning"
    """Alerts less grave than this are only listed."""
    resolve_after: int = Field(default=2, ge=1)
    """After so many good looks in a row an alert about the model ends by itself."""


class Budget(_Part):
    """What a project may spend."""

    cpu_minutes_per_day: float | None = Field(default=None, gt=0)
    """CPU minutes of retraining in 24 hours; above it no retrain starts. `None` is no limit."""


class Project(_Part):
    """The schema of `project.yaml`."""

    name: Annotated[str, Field(pattern=NAME.pattern)]
    """The model's name in the registry and in the URL."""
    problem: Literal["tabular-classification", "tabular-regression"]
    """The kind of machine learning: `tabular-classification` or `tabular-regression`."""
    data: Data
    validation: Validate = Field(default=Validate(), alias="validate")
    label: Label = Label()
    split: Split = Split()
    tune: Tune = Tune()
    train: Train = Train()
    promote: Promote = Promote()
    serve: Serve = Serve()
    privacy: Privacy = Privacy()
    watch: Watch = Watch()
    retrain: Retrain = Retrain()
    budget: Budget = Budget()
    alerts: Alerts = Alerts()

    _folder: Path = PrivateAttr(Path())

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self._folder

    @property
    def digest(self) -> str:
        """SHA-256 of the project as parsed: comments and key order do not change it."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def source(self) -> str:
        """Where the rows are: an absolute path, or the URL as written."""
        return self.data.source if "://" in self.data.source else str(self._folder / self.data.source)


def check_name(name: str) -> str:
    """Return `name` if a project may bear it.

    Raises:
        BadProject: It does not match `^[a-z][a-z0-9-]{0,62}$`.
    """
    if not NAME.fullmatch(name):
        raise BadProject(
            f"'{name}' cannot be a project's name: use lower-case letters, digits and hyphens, "
            "start with a letter, 63 characters at most."
        )
    return name


def load_project(name: str, settings: Settings | None = None) -> Project:
    """Read `projects/<name>/project.yaml`.

    Raises:
        NotFound: There is no such project; the nearest name is suggested.
        BadProject: The file is not YAML, or not a project; the message names the key.
    """
    settings = settings or Settings()
    folder = settings.projects_dir / check_name(name)
    path = folder / "project.yaml"
    if not path.is_file():
        raise NotFound(
            f"No project '{name}' in {settings.projects_dir}.{nearest(name, list_projects(settings))} "
            "`treadle init` writes one."
        )
    return read_project(path)


def list_projects(settings: Settings | None = None) -> list[str]:
    """Names of the projects, sorted."""
    settings = settings or Settings()
    return sorted(p.parent.name for p in settings.projects_dir.glob("*/project.yaml") if NAME.fullmatch(p.parent.name))


def read_project(path: Path) -> Project:
    """Read one project file.

    Raises:
        BadProject: As for `load_project`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadProject(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadProject(f"{path} must hold keys such as name, problem and data.")
    try:
        project = Project.model_validate(content)
    except ValidationError as error:
        raise BadProject(f"{path}: {_explain(error)}") from error
    if project.name != path.parent.name:
        raise BadProject(
            f"{path}: name is '{project.name}', but the folder is '{path.parent.name}'; make them the same. "
            "Versions and predictions go by the name: under another one a project begins anew."
        )
    object.__setattr__(project, "_folder", path.parent.resolve())
    return project


def _explain(error: ValidationError) -> str:
    """One line for the first error: the key, what is wrong, and the nearest known key."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "literal", "constrained"))]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = _keys_beside(location)
        return f"unknown key '{key}'.{nearest(location[-1], known)} Known keys: {', '.join(known)}."
    if first["type"] == "missing":
        return f"'{key}' is missing."
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]} (it is {first['input']!r})."


def _keys_beside(location: list[str]) -> list[str]:
    """The keys that the schema knows at the place of an unknown key."""
    part: type[BaseModel] = Project
    for key in location[:-1]:
        fields = {field.alias or name: field.annotation for name, field in part.model_fields.items()}
        child: Any = fields.get(key)
        parts = [kind for kind in (child, *get_args(child)) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not parts:
            return []
        part = parts[0]
    return [field.alias or name for name, field in part.model_fields.items()]
