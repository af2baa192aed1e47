"""Erasure of one subject: every row of theirs, and every word of them, out of the ledger and the files made from it.

What a model has learned stays learned, and the user's own source is the user's; `docs/privacy.md` says what follows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, select, text

from treadle.errors import BadProject, Unavailable
from treadle.ledger import Drain, Ledger
from treadle.ledger.audit import record
from treadle.ledger.segment import SUFFIX
from treadle.ledger.tables import early_labels, feedback, predictions, set_aside, shadow_answers
from treadle.ledger.words import take_out
from treadle.mentions import Mentions
from treadle.privacy import as_text, privacy_key, pseudonym
from treadle.project import Project
from treadle.settings import Settings

if TYPE_CHECKING:
    import numpy as np

DRAIN_DEADLINE_S = 60.0
IDS_AT_ONCE = 500
FOLDERS = ("turns", "snapshots", "quarantine", "scores", "reports")
"""Folders below `.treadle/` that may hold rows of the ledger, or of the source."""
PAGES = (".html", ".md")
"""What of MLflow's artifacts people read; all others are a version's, which stays whole."""
ROW_IDS = ("holdout.json", "seen.json", "split.json")
"""Files of ids alone: a row's is a hash of it, an answer's was made up. A gate without them would judge by rows that a
version has learned from."""
WORDLESS = (".npz", ".png")
"""Numbers and pictures, in whose bytes a short value would be found by chance."""


@dataclass
class Erased:
    """What was removed.

    Attributes:
        predictions: Rows of the ledger, their labels with them.
        texts: Reasons, evidence, messages and figures of the ledger that named the subject, and do not any more.
        changed: Files from which rows were taken, below the home.
        removed: Files that were removed as a whole.
    """

    predictions: int = 0
    texts: int = 0
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def erase(settings: Settings, ledger: Ledger, project: Project, value: str, who: str) -> Erased:
    """Remove a subject.

    Args:
        settings: The installation.
        ledger: Its ledger.
        project: Its `privacy.subject` names the column that says whose a row is.
        value: The subject, as callers sent it.
        who: Whom the audit names.

    Raises:
        BadProject: The project does not say which column that is, or the ledger does not keep it.
        Unavailable: Rows of a moment ago do not come into the ledger.
    """
    column = project.privacy.subject
    how = project.privacy.columns.get(column or "", "keep")
    if column is None or how == "drop":
        raise BadProject(
            f"'{project.name}' does not say whose a row is: set privacy.subject in its project.yaml to a column that the "
            "ledger keeps or hashes."
        )
    known = {value, pseudonym(value, privacy_key(settings))}  # rows from before the policy hold the value itself
    mentions = Mentions(known)
    _settle_journal(settings, ledger)
    ids = list(_ids_of(ledger, project.name, column, known))
    with ledger.change() as connection:
        if ledger.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        for begin in range(0, len(ids), IDS_AT_ONCE):
            some = ids[begin : begin + IDS_AT_ONCE]
            for table in (feedback, set_aside, shadow_answers, predictions):
                connection.execute(delete(table).where(table.c.id.in_(some)))
            of_project = early_labels.c.model == project.name
            connection.execute(delete(early_labels).where(of_project, early_labels.c.id.in_(some)))
        texts = take_out(connection, project.name, mentions)
        digest = hashlib.sha256(privacy_key(settings) + value.encode()).hexdigest()[:16]
        record(connection, who, "erase", project.name, len(ids), f"subject {digest}")
    erased = Erased(len(ids), texts)
    _compact(ledger)
    for path in _files(settings, project.name):
        _clean(settings.home, path, column, known, mentions, erased)
    return erased


def _settle_journal(settings: Settings, ledger: Ledger) -> None:
    """Wait until what was answered before now is in the ledger, and its journal gone; do it here if no service does.

    Raises:
        Unavailable: It stays.
    """
    now, end = f"{time.time_ns():020d}", time.monotonic() + DRAIN_DEADLINE_S
    drain = Drain(settings.journal_dir, lambda: ledger)
    while [path for path in settings.journal_dir.glob(f"*{SUFFIX}") if path.name < now]:
        if time.monotonic() > end:
            raise Unavailable("Answers of a moment ago are still on their way into the ledger; nothing was erased.")
        if drain.hold():
            drain.once()
        time.sleep(0.1)
    drain.let_go()


def _ids_of(ledger: Ledger, model: str, column: str, known: set[str]) -> Iterator[str]:
    """Ids of the subject's rows; read one by one, since no index knows them."""
    rows = select(predictions.c.id, predictions.c.features).where(predictions.c.model == model)
    with ledger.engine.connect() as connection:
        for name, features in connection.execution_options(yield_per=2000).execute(rows):
            value = msgspec.json.decode(features).get(column)
            if value is not None and as_text(value) in known:
                yield name


def _compact(ledger: Ledger) -> None:
    """Give back the pages and the log in which the rows were, so that their bytes are gone from the disk."""
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
        if ledger.engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def _files(settings: Settings, name: str) -> Iterator[Path]:
    """Files of a project that may hold rows, or tell of them."""
    state, mlruns = settings.state_dir, settings.mlruns_dir
    replays = [path for path in state.glob(f"replays/{name}-*") if path.name.removeprefix(f"{name}-").isalnum()]
    places = [*(state / folder / name for folder in FOLDERS), *replays, mlruns / "evidence" / name]
    yield from (state / "quarantine").glob(f"{name}.*")
    for place in places:
        yield from (path for path in place.rglob("*") if path.is_file())
    yield from (path for path in (mlruns / "artifacts" / name).rglob("*") if path.suffix in PAGES)


def _clean(home: Path, path: Path, column: str, known: set[str], mentions: Mentions, erased: Erased) -> None:
    """Take the subject's rows out of a table; remove any other file that names the subject."""
    place = str(path.relative_to(home))
    if path.suffix == ".parquet":
        if _clean_table(path, column, known):
            erased.changed.append(place)
    elif path.name not in ROW_IDS and path.suffix not in WORDLESS and mentions.within(path.read_bytes()):
        path.unlink()
        erased.removed.append(place)


def _clean_table(path: Path, column: str, known: set[str]) -> bool:
    """Take the subject's rows out of a table, and what belongs to them out of the arrays beside it."""
    import pandas as pd

    frame = pd.read_parquet(path)
    if column not in frame:
        return False
    theirs = frame[column].map(lambda value: not pd.isna(value) and as_text(value) in known).to_numpy(dtype=bool)
    if not theirs.any():
        return False
    _clean_arrays(path.with_suffix(".npz"), ~theirs)
    draft = path.with_suffix(".part")
    frame[~theirs].to_parquet(draft)
    draft.replace(path)
    return True


def _clean_arrays(path: Path, kept: np.ndarray) -> None:
    """Keep only these rows of the arrays (n, ...) of the same name as a table of n rows, such as a turn's answers."""
    import numpy as np

    if not path.exists():
        return
    with np.load(path) as arrays:
        rows = {name: array[kept] if array.shape[:1] == kept.shape else array for name, array in arrays.items()}
    draft = path.with_suffix(".npz.part")
    with draft.open("wb") as file:
        np.savez(file, **rows)
    draft.replace(path)
