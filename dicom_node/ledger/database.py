"""Opening the ledger's database: SQLite with every commit synced, or PostgreSQL; migrated before use."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select
from sqlalchemy.pool import ConnectionPoolEntry

from dicom_node.errors import Failure

_BUSY_MILLISECONDS: Final = 60_000


class LedgerMissing(Failure):
    """There is no ledger where the settings say."""


def open_database(url: str) -> Engine:
    """Return an engine on an existing or new database, its schema brought up to date (Alembic "head")."""
    engine = _engine(url)
    config = Config()
    config.set_main_option("script_location", str(resources.files("dicom_node.ledger") / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return engine


def open_existing(url: str) -> Engine:
    """Return an engine on a ledger that a node has made.

    Raises
    ------
    LedgerMissing
        If there is none.
    """
    engine = _engine(url)
    database = engine.url.database
    # connecting would create the file, and a look must not leave anything behind
    absent = engine.dialect.name == "sqlite" and not Path(database or "").is_file()
    if absent or not inspect(reading(engine)).has_table("jobs"):
        raise LedgerMissing(f"no ledger at {database}: has `dicom-node serve` run with these settings?")
    return engine


def reading(engine: Engine) -> Engine:
    """Return the same engine for reading: SQLite then takes no write lock."""
    return engine.execution_options(reads_only=True)


def lock_study(connection: Connection, study_instance_uid: str) -> None:
    """Let one transaction at a time decide about a study; SQLite's write lock has done that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(study_instance_uid))))


class WriteTurns:
    """Lets the processes that receive take turns at writing, in the order in which they ask.

    SQLite lets one process write at a time; the others would sleep and try again, up to 0.1 s at once. Here they
    wait at a file lock: the kernel wakes the next when one is done, and a process that is killed gives its turn back.
    PostgreSQL needs none of it.
    """

    def __init__(self, engine: Engine) -> None:
        database = engine.url.database if engine.dialect.name == "sqlite" else None
        self._path = Path(f"{database}.turn") if database and database != ":memory:" else None
        self._file: BinaryIO | None = None
        self._thread = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and give it back at the end."""
        if self._path is None:
            yield
            return
        with self._thread:  # the file lock belongs to the process: its threads queue here
            # opened late, because who only looks at a ledger leaves nothing behind
            file = self._file = self._file or self._path.open("ab")
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock's file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), pool_size=10, max_overflow=40)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _begin_immediately)
    return engine


def _on_sqlite_connect(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # the driver's own transaction handling is switched off: we say BEGIN ourselves
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={_BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit survives a power cut: 0x0000 depends on it
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: Connection) -> None:
    # a transaction that reads first and writes later could otherwise fail with "database is locked" at its write
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if options.get("reads_only") else "BEGIN IMMEDIATE")
