"""Opening the ledger's database: SQLite with every commit synced, or PostgreSQL; migrated before use."""

import fcntl
import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any, Final

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


class _TurnTaker(sqlite3.Connection):
    """A connection that waits for its turn to write, in the order in which processes and threads ask.

    SQLite lets one connection write at a time; the others would sleep and try again, for up to 0.1 s at once. Here
    they wait at a file lock instead: the kernel wakes the next when one is done, and frees the lock of a process that
    is killed. SQLite's own lock still decides; programs that know nothing of turns only wait as they always did.
    """

    def __init__(self, database: str, *arguments: Any, **options: Any) -> None:
        super().__init__(database, *arguments, **options)
        self._path = None if database in {"", ":memory:"} else f"{database}.turn"
        self._turn: int | None = None

    def take_turn(self) -> None:
        """Wait for the turn; opened late, because who only looks at a ledger leaves nothing behind."""
        if self._path is not None:
            self._turn = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._turn, fcntl.LOCK_EX)

    def _give_back(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)

    def commit(self) -> None:
        """Commit, and give the turn back."""
        try:
            super().commit()
        finally:
            if not self.in_transaction:
                self._give_back()

    def rollback(self) -> None:
        """Roll back, and give the turn back."""
        try:
            super().rollback()
        finally:
            self._give_back()

    def close(self) -> None:
        """Close, and give the turn back."""
        self._give_back()
        super().close()


def _engine(url: str) -> Engine:
    options: dict[str, Any] = {"connect_args": {"factory": _TurnTaker}} if url.startswith("sqlite") else {}
    engine = create_engine(url, pool_pre_ping=not options, pool_size=10, max_overflow=40, **options)
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
    if options.get("reads_only"):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.dbapi_connection
    if isinstance(driver, _TurnTaker):
        driver.take_turn()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
