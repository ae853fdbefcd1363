"""Opening the ledger's database: SQLite with every commit synced, or PostgreSQL; migrated before use."""

from importlib import resources
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from dicom_node.errors import Failure

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


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), pool_size=10, max_overflow=40)
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
    connection.exec_driver_sql("BEGIN" if options.get("reads_only") else "BEGIN IMMEDIATE")
