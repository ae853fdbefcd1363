"""The few values of a long column, each found at its place in an index instead of by a walk along all of it."""

from sqlalchemy import ColumnElement, Connection, func, select


def each_value(connection: Connection, column: ColumnElement[str]) -> list[str]:
    """Return the values of a column that an index begins with, each once, in order."""
    smallest = select(func.min(column))
    found: list[str] = []
    value = connection.execute(smallest).scalar()
    while value is not None:
        found.append(value)
        value = connection.execute(smallest.where(column > value)).scalar()
    return found
