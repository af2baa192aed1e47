"""An open ledger: its database, and changes of it that leave their trace in the audit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from treadle.errors import Unavailable
from treadle.ledger.audit import keep_anchor
from treadle.ledger.database import LaterEngine, open_engine
from treadle.settings import Settings

log = logging.getLogger("treadle.ledger")


class Store:
    """One open database."""

    def __init__(self, engine: Engine | LaterEngine, anchor: Path | None = None) -> None:
        self._engine = engine
        self.anchor = anchor

    @property
    def engine(self) -> Engine:
        """The database.

        Raises:
            Unavailable: It was to be opened later, and cannot be yet.
        """
        return self._engine.get() if isinstance(self._engine, LaterEngine) else self._engine

    @classmethod
    def open(cls, where: Settings | str) -> Self:
        """Open the ledger of an installation, or at a SQLAlchemy URL; its schema is brought up to date.

        Raises:
            Unavailable: It cannot be reached.
        """
        if isinstance(where, str):
            return cls(open_engine(where))
        return cls(open_engine(where.ledger, where.ledger_durability), where.state_dir / "audit.head")

    @classmethod
    def later(cls, settings: Settings) -> Self:
        """The ledger of an installation, opened at its first use; while it cannot be, every method says `Unavailable`."""
        return cls(LaterEngine(settings.ledger, settings.ledger_durability), settings.state_dir / "audit.head")

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """One transaction of changes that are recorded in the audit, see `treadle.ledger.audit.record`."""
        with self.engine.begin() as connection:
            yield connection
        self.keep_anchor()

    def keep_anchor(self) -> None:
        """Write down beside the ledger how far the audit has come; the change before has been committed, come what may."""
        if self.anchor is None:
            return
        try:
            if not keep_anchor(self.engine, self.anchor):
                log.error("the audit is not what it was when %s was written; see `treadle audit verify`", self.anchor)
        except (OSError, SQLAlchemyError, Unavailable) as error:
            log.warning("%s was not written: %s", self.anchor, type(error).__name__)
