"""Opens the ledger's database and brings its schema up to date. SQLite in WAL mode, or PostgreSQL by URL."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from treadle.errors import Unavailable

HEAD = "0008"
BUSY_MS = 10_000
PAGE_BYTES = 16_384
"""Of a new SQLite file; one that is there keeps its own. The default, 4 KiB, holds seven predictions."""
CONNECT_S = 5  # PostgreSQL's own default is to wait for minutes
REOPEN_S = 1.0


class LaterEngine:
    """An engine that is opened at first use; after a failure again, but at most once a second, whoever asks."""

    def __init__(self, url: str, durability: str) -> None:
        self._url, self._durability = url, durability
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._why, self._retry_at = "", 0.0

    def get(self) -> Engine:
        """The engine.

        Raises:
            Unavailable: The database cannot be reached, or could not a moment ago.
        """
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self._open()
        return self._engine

    def _open(self) -> Engine:
        if time.monotonic() < self._retry_at:
            raise Unavailable(self._why)
        try:
            return open_engine(self._url, self._durability)
        except Unavailable as error:
            self._why, self._retry_at = str(error), time.monotonic() + REOPEN_S
            raise


def open_engine(url: str, durability: str = "normal") -> Engine:
    """An engine on a database whose schema is this version's.

    Whatever is done with it later raises `Unavailable` when the database is locked, full, read-only or gone.

    Raises:
        Unavailable: The database cannot be reached or was written by a newer Treadle.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        parsed = parsed.update_query_dict({"connect_timeout": str(CONNECT_S)} | dict(parsed.query))
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite", hide_parameters=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _pragmas(durability))
        if _revision(engine) != HEAD:
            _migrate(engine)
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(
            f"Cannot open the ledger at {parsed.render_as_string(hide_password=True)}: "
            f"{' '.join(str(error).split())[:200]} (TREADLE_LEDGER_URL)"
        ) from error
    event.listen(engine, "handle_error", _say_outage)
    return engine


def _say_outage(context: ExceptionContext) -> None:
    """Turn an outage into the error that the command line prints and the API answers with 503."""
    error = context.sqlalchemy_exception
    if isinstance(error, OperationalError) and not context.is_pre_ping:
        raise Unavailable(
            f"The ledger cannot be used now: {' '.join(str(error.orig).split())[:200]} (TREADLE_LEDGER_URL)"
        ) from context.original_exception


def _pragmas(durability: str) -> Any:
    def on_connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.execute(f"PRAGMA page_size={PAGE_BYTES}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={durability.upper()}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return on_connect


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    """Run the migrations once, however many processes open the ledger at the same moment."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _alone(engine):
        if _revision(engine) == HEAD:
            return
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise Unavailable(
                    f"The ledger has a schema that this Treadle does not know ({error}); update Treadle."
                ) from error


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold a lock that the kernel or the server releases when its holder dies."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(7468726)"))
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(7468726)"))
