"""Models that were trained here as ready ones: make the table that they learn from, add them, take them out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from console.progress import say
from console.ready import ENDINGS, answer_some
from treadle.capabilities import load_capability
from treadle.capabilities.catalog import Entry, TrainedSource, add_entry, entries_of, remove_entry
from treadle.capabilities.pool import Pool
from treadle.capabilities.sources import champion_here, pick
from treadle.capabilities.trained import column_names
from treadle.errors import BadData, Conflict, nearest
from treadle.ledger import Ledger, ReadyCalls
from treadle.project import load_project
from treadle.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

LABEL, FILE = "label", "file"
"""Columns of a table of pictures: the name of the folder that each is in, and its own."""


def add(settings: Settings, capability: str, project: str, model: str | None) -> dict[str, Any]:
    """Write a project's champion into the installation's catalog, if it can answer.

    Raises:
        NotFound: There is no such project or capability, or the project has no champion.
        DoesNotFit: The champion cannot be this capability.
        NotInstalled: What it learned from is not here.
        Conflict: Another model has that name.
    """
    load_capability(capability)
    load_project(project, settings)
    source = TrainedSource(kind="yours", project=project)
    name = model or project
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name):
        raise BadData(f"'{name}' cannot be a model's name: use lower-case letters, digits, dots and hyphens. (--model)")
    entry = Entry(
        capability=capability, model=name, version="champion", source=source, licence="yours", size_bytes=0,
        runtime="onnxruntime",
    )  # fmt: skip
    if any(e.model == name and e.source.kind != "yours" for e in entries_of(capability, settings)):
        raise Conflict(f"{capability} has a model '{name}' already; give another name. (--model)")
    now, _ = champion_here(entry, settings)
    add_entry(entry, settings)
    return {"capability": capability, "model": name, "project": project, "version": int(now.version)}


def remove(settings: Settings, capability: str, model: str) -> dict[str, Any]:
    """Take an entry out of the installation's catalog.

    Raises:
        NotFound: It was not added here.
    """
    gone = remove_entry(capability, model, settings)
    return {"capability": capability, "model": gone.model, "source": gone.source.kind, "removed": True}


def embed(settings: Settings, source: str, column: str, model: str | None, to: Path) -> dict[str, Any]:
    """Write a table of vectors, beside the other columns of a table of texts, or the labels of a folder of pictures.

    Raises:
        BadData: There is nothing to embed.
        NotInstalled: The embedder is not here.
    """
    if to.suffix != ".parquet":
        raise BadData(f"The table is written as Parquet; name it so: {to.with_suffix('.parquet')} (--to)")
    import pandas as pd

    folder = Path(source)
    capability = "embed-image" if folder.is_dir() else "embed-text"
    rest, inputs = _pictures(folder) if folder.is_dir() else _texts(source, column)
    entry, _ = pick(capability, model, settings)
    vectors = list(_vectors(settings, capability, inputs, entry.model))
    names = column_names(entry, len(vectors[0]))
    table = pd.concat([rest, pd.DataFrame(vectors, columns=names, dtype="float32", index=rest.index)], axis=1)
    to.parent.mkdir(parents=True, exist_ok=True)
    fresh = to.with_suffix(".part")
    table.to_parquet(fresh, index=False)
    fresh.replace(to)
    made = {"rows": len(table), "columns": list(rest.columns), "numbers": len(names)}
    return {"table": str(to), "capability": capability, "model": entry.model, "version": entry.version} | made


def _texts(source: str, column: str) -> tuple[pd.DataFrame, list[str]]:
    """The other columns of a table, and its texts."""
    from treadle.tables.data import read_table
    from treadle.tables.values import as_text

    table = read_table(source)
    if column not in table:
        known = list(map(str, table.columns))
        raise BadData(f"No column '{column}'. Columns: {', '.join(known[:30])}.{nearest(column, known)} (--column)")
    texts = as_text(table[column])
    kept = texts.notna() & (texts.str.strip() != "")
    if not kept.any():
        raise BadData(f"The column '{column}' has no text in any row.")
    if gone := int((~kept).sum()):
        say(f"{gone} of {len(table)} rows have no text and are left out")
    return table[kept].drop(columns=column).reset_index(drop=True), texts[kept].tolist()


def _pictures(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """The names of the pictures in a folder's folders, and of these."""
    import pandas as pd

    paths = [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in ENDINGS["image"] and path.is_file()]
    if not paths:
        raise BadData(
            f"{folder} has no folders with pictures in them; each folder's name is the label of its pictures."
        )
    rows = {FILE: [str(path.relative_to(folder)) for path in paths], LABEL: [path.parent.name for path in paths]}
    return pd.DataFrame(rows), paths


def _vectors(settings: Settings, capability: str, inputs: Sequence[str | Path], model: str) -> Iterator[list[float]]:
    """The vector of each input; calls are metered like all others."""
    pool, calls, light = Pool(settings), ReadyCalls(Ledger.open(settings)), load_capability(capability)
    most = pool.limits.inputs
    try:
        for begin in range(0, len(inputs), most):
            some = [one.read_bytes() if isinstance(one, Path) else one for one in inputs[begin : begin + most]]
            _, done = answer_some(pool, calls, light, some, model, {})
            yield from (one["embedding"] for one in msgspec.msgpack.decode(done.answers))
            say(f"{min(begin + most, len(inputs)):,} of {len(inputs):,}")
    finally:
        pool.stop()
