"""Guarded transitions and events: the two statements that every part of the ledger is made of."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Insert, Row, Table, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node.entities import InstanceRef
from dicom_node.ledger import schema
from dicom_node.lifecycle import Event, after, before

#: A row of whatever columns a statement asks for.
AnyRow = Row[*tuple[Any, ...]]

_INSERT: Final[Mapping[str, Callable[[Table], Any]]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def move(connection: Connection, table: Table, where: ColumnElement[bool], event: Event, **values: Any) -> int:
    """Apply one lifecycle event to the rows that are in a state in which it may happen; return how many were.

    The guard stands in the WHERE clause, so of two processes that try, one moves the row and the other moves none.
    """
    states = before(event)
    statement = (
        update(table)
        .where(where, table.c.state.in_([str(state) for state in states]))
        .values(state=str(after(states[0], event)), **values)
    )
    return connection.execute(statement).rowcount


def insert_if_new(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless its key is there already; return whether it was inserted."""
    statement = _INSERT[connection.dialect.name](table).values(**values).on_conflict_do_nothing()
    # without the option SQLAlchemy does not keep the count of an INSERT (psycopg: -1)
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


@cache
def new_only(dialect: str, table: Table) -> Insert:
    """Return the statement that inserts a row unless its key is there already; nullable columns stay empty."""
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in table.c if not column.nullable}
    return _INSERT[dialect](table).values(**values).on_conflict_do_nothing()


def note_event(connection: Connection, kind: str, text: str, at: float, **about: Any) -> None:
    """Write one line of history: what happened, in words; `about` names study, job or association."""
    connection.execute(insert(schema.events).values(kind=kind, text=text, at=at, **about))


def to_json(value: Any) -> str:
    """Return the stored form of a structure: compact, keys in order."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def instance_ref(row: AnyRow) -> InstanceRef:
    """Return the value that a row of `instances` holds."""
    return InstanceRef(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=row.study_instance_uid,
        path=row.path,
        sha256=row.sha256,
        size=row.size,
        own=row.own,
    )
