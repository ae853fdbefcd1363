"""Opening the ledger's database: SQLite with every commit synced, or PostgreSQL; migrated before use."""

import fcntl
import os
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from dicom_node.errors import Failure

#: Connections that a process keeps open once it has needed as many at a time.
POOLED: Final = 10
_BUSY_MILLISECONDS: Final = 60_000


class LedgerMissing(Failure):
    """There is no ledger where the settings say."""


class _File:
    """SQLite's file, watched: SQLite writes on into a file that has been deleted or moved, and says nothing."""

    def __init__(self, engine: Engine) -> None:
        self._path = Path(engine.url.database or "")
        self._made = self._path.is_file()
        event.listen(engine, "do_connect", self._may_connect)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._still_the_same)

    def _may_connect(self, *_: Any) -> None:
        # connecting would make an empty file in the place of one that is gone
        if self._made and not self._path.is_file():
            raise LedgerMissing(f"{self._path} is gone: bring it back, with its -wal and -shm")

    def _connected(self, _connection: Any, entry: ConnectionPoolEntry) -> None:
        self._made = True
        entry.info["file"] = self._identity()

    def _still_the_same(self, _connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info["file"] != self._identity():
            raise DisconnectionError("the ledger's file is another one now")  # the pool connects anew

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def open_database(url: str) -> Engine:
    """Return an engine on an existing or new database, its schema brought up to date (Alembic "head")."""
    engine = _engine(url)
    # Alembic takes 12 MB, and receiver processes, which only open what is there, can do without
    import_module("dicom_node.ledger.migrating").migrate(engine)
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
    engine = create_engine(url, pool_pre_ping=not options, pool_size=POOLED, max_overflow=40, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _begin_immediately)
        if engine.url.database not in (None, "", ":memory:"):
            _File(engine)
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
