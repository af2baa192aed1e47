"""MLflow tracking: runs, metrics, datasets, models. The only code that talks to it; the registry has a file of its own.

Writes straight to the tracking database: through MLflow's server a nested run costs 100 ms.
"""

from __future__ import annotations

import fcntl
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from treadle.project import Project
from treadle.settings import Settings, quiet_telemetry
from treadle.tables.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

BATCH = 90  # entities a call; MLflow takes 100 params, 100 tags, 1,000 metrics
LONGEST = 6000  # characters of a parameter's or a tag's value
_READY: set[str] = set()  # stores that this process has found complete


class Trial(Protocol):
    """What a nested run shows of one trial of a search."""

    @property
    def number(self) -> int:
        """Its number in the study."""
        ...

    @property
    def family(self) -> str:
        """What it tried."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """With which parameters."""
        ...

    @property
    def score(self) -> float | None:
        """The metric on the valid rows."""
        ...

    @property
    def state(self) -> str:
        """`complete`, `pruned` or `failed`."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


def client(settings: Settings) -> MlflowClient:
    """A client on the tracking and registry database; the first use creates it, in one process at a time."""
    quiet_telemetry()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    uri = settings.tracking_uri
    if uri not in _READY:
        with _alone(settings):  # the client's construction makes the tables, and two at once break each other's
            MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
        _READY.add(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold a lock that the kernel releases when its holder dies."""
    settings.mlruns_dir.mkdir(parents=True, exist_ok=True)
    with (settings.mlruns_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def experiment_id(settings: Settings, name: str) -> str:
    """The project's experiment; made when first asked for, its artifacts below `mlruns/artifacts`."""
    mlflow = client(settings)
    with _alone(settings):
        found = mlflow.get_experiment_by_name(name)
        if found is None:
            folder = settings.mlruns_dir / "artifacts" / name
            tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on chat traces
            return str(mlflow.create_experiment(name, artifact_location=folder.as_uri(), tags=tags))
    if found.lifecycle_stage == "deleted":
        mlflow.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextmanager
def open_run(settings: Settings, project: Project, *, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """An MLflow run for one turn of the wheel; it ends FINISHED, or FAILED when the block raises.

    Returns:
        The run's id.
    """
    mlflow = client(settings)
    run = mlflow.create_run(
        experiment_id(settings, project.name),
        run_name=name,
        tags={"kind": "train", "project": project.name, "problem": project.problem, **tags},
    )
    run_id = str(run.info.run_id)
    try:
        yield run_id
    except BaseException:
        mlflow.set_terminated(run_id, "FAILED")
        raise
    mlflow.set_terminated(run_id, "FINISHED")


def log_params(settings: Settings, run_id: str, params: Mapping[str, Any]) -> None:
    """Parameters of a run."""
    _log(client(settings), run_id, params=params)


def log_metrics(settings: Settings, run_id: str, metrics: Mapping[str, float]) -> None:
    """Metrics of a run, one value each; what is not a number is left out."""
    _log(client(settings), run_id, metrics=metrics)


def set_tags(settings: Settings, run_id: str, tags: Mapping[str, str]) -> None:
    """Tags of a run."""
    _log(client(settings), run_id, tags=tags)


def _log(
    mlflow: MlflowClient,
    run_id: str,
    *,
    params: Mapping[str, Any] = MappingProxyType({}),
    metrics: Mapping[str, float] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write as few batches as MLflow's limits allow, one transaction each."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    many_params = [Param(key, str(value)[:LONGEST]) for key, value in params.items()]
    many_metrics = [Metric(key, float(value), now, 0) for key, value in metrics.items() if not math.isnan(value)]
    many_tags = [RunTag(key, str(value)[:LONGEST]) for key, value in tags.items()]
    for begin in range(0, max(len(many_params), len(many_metrics), len(many_tags)), BATCH):
        some = slice(begin, begin + BATCH)
        mlflow.log_batch(run_id, params=many_params[some], metrics=many_metrics[some], tags=many_tags[some])


def log_artifacts(settings: Settings, run_id: str, folder: Path, target: str) -> None:
    """A folder of files, under `target` among the run's artifacts."""
    client(settings).log_artifacts(run_id, str(folder), target)


def log_text(settings: Settings, run_id: str, text: str, target: str) -> None:
    """A text file among the run's artifacts."""
    client(settings).log_text(run_id, text, target)


def log_dataset(
    settings: Settings, run_id: str, frame: pd.DataFrame, *, name: str, source: str, target: str, digest: str
) -> None:
    """The rows that a run learned from, as an MLflow dataset input with our digest."""
    mlflow = client(settings)
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import DatasetInput, InputTag

    visible = frame[[column for column in frame.columns if not column.startswith("__")]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it wonders which of its two local sources a path is
        dataset = from_pandas(visible, source=source, targets=target, name=name, digest=digest[:36])
    entry = DatasetInput(dataset=dataset._to_mlflow_entity(), tags=[InputTag("mlflow.data.context", "training")])
    mlflow.log_inputs(run_id, datasets=[entry])


def log_trials(settings: Settings, run_id: str, project: str, trials: Sequence[Trial], metric: str) -> None:
    """Each trial as a nested run, written after the search and so off its path."""
    mlflow, experiment = client(settings), experiment_id(settings, project)
    for trial in trials:
        ended = int(time.time() * 1000)
        run = mlflow.create_run(
            experiment,
            start_time=ended - int(trial.seconds * 1000),
            run_name=f"trial {trial.number}: {trial.family}",
            tags={
                "mlflow.parentRunId": run_id,
                "kind": "trial",
                "project": project,
                "family": trial.family,
                "state": trial.state,
            },
        )
        scored = {metric: trial.score} if trial.score is not None else {}
        _log(
            mlflow,
            run.info.run_id,
            params={"family": trial.family} | dict(trial.params),
            metrics={"seconds": trial.seconds} | scored,
        )
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(trial.state.lower(), "FAILED")
        mlflow.set_terminated(run.info.run_id, status, end_time=ended)


def log_model(settings: Settings, run_id: str, model: Any, schema: Schema, trusted: list[str]) -> str:
    """A fitted pipeline in MLflow's scikit-learn flavor, as skops, with signature and exact requirements.

    Args:
        settings: Where MLflow is.
        run_id: The run that fitted it.
        model: Pipeline (encoder, estimator).
        schema: Its columns become the signature.
        trusted: Types that skops may open again.

    Returns:
        The model's URI.
    """
    client(settings)
    import mlflow
    from mlflow import sklearn as flavor

    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        info = flavor.log_model(
            model,
            name="model",
            signature=signature_of(schema),
            serialization_format="skops",
            skops_trusted_types=trusted,
            pip_requirements=requirements(model),
            pyfunc_predict_fn="predict_proba" if schema.classes else "predict",
        )
    return str(info.model_uri)


def signature_of(schema: Schema) -> Any:
    """The model's signature: every feature column with its type; missing values are allowed where they were seen."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, TensorSpec
    from mlflow.types import Schema as Columns

    types = {"category": DataType.string, "datetime": DataType.datetime}
    inputs: list[Any] = [
        ColSpec(types.get(c.kind, DataType.double), c.name, required=not c.nullable) for c in schema.features
    ]
    import numpy as np

    shape = (-1, len(schema.classes)) if schema.classes else (-1,)
    return ModelSignature(Columns(inputs), Columns([TensorSpec(np.dtype("float64"), shape)]))


def requirements(model: Any) -> list[str]:
    """The exact packages that open the model again; Treadle itself is run from its checkout."""
    from importlib.metadata import version

    packages = ["mlflow", "numpy", "pandas", "scikit-learn", "skops"]
    if "lightgbm" in type(model[-1]).__module__:
        packages.append("lightgbm")
    return [f"{package}=={version(package)}" for package in packages]


def run_url(settings: Settings, project: str, run_id: str) -> str:
    """Where the run is in the MLflow UI."""
    return f"{settings.mlflow_url}/#/experiments/{experiment_id(settings, project)}/runs/{run_id}"
