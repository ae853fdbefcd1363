"""The versions of the rules: who put which text in force, when and why. The highest number is in force."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, insert_if_new, note_event
from dicom_node.ledger.schema import rule_files, rule_versions


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of the rules; `at` is in UTC seconds, `digest` that of the rules without comments and layout."""

    number: int
    at: float
    author: str
    reason: str
    digest: str
    text: str


class RuleVersions:
    """The ledger's side of rules."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def latest_number(self) -> int:
        """Return the number of the version in force; 0 if there is none."""
        with self._reader.connect() as connection:
            return _latest(connection)

    def latest(self) -> RuleVersion | None:
        """Return the version in force."""
        found = self.all(1)
        return found[0] if found else None

    def get(self, number: int) -> RuleVersion | None:
        """Return one version."""
        statement = select(rule_versions).where(rule_versions.c.number == number)
        with self._reader.connect() as connection:
            row = connection.execute(statement).first()
        return None if row is None else _version(row)

    def all(self, limit: int = 1000) -> list[RuleVersion]:
        """Return the versions, newest first."""
        statement = select(rule_versions).order_by(rule_versions.c.number.desc()).limit(limit)
        with self._reader.connect() as connection:
            return [_version(row) for row in connection.execute(statement)]

    def add(
        self, text: str, digest: str, author: str, reason: str, at: float, *, after: int | None = None
    ) -> RuleVersion | None:
        """Put a text in force as the next version, and return it.

        Parameters
        ----------
        after : int or None
            The version that the author edited: None is returned, and nothing changed, if another one is in force by
            now. None: whatever is in force is replaced.
        """
        with self._engine.begin() as connection:
            latest = _latest(connection)
            if after not in (None, latest):
                return None
            made = RuleVersion(latest + 1, at, author[:100], reason, digest, text)
            values = {name: getattr(made, name) for name in RuleVersion.__dataclass_fields__}
            if not insert_if_new(connection, rule_versions, **values):
                return None  # another node was quicker
            said = f"version {made.number} by {made.author}" + (f": {reason}" if reason else "")
            note_event(connection, "rules changed", said, at)
            return made

    def seen_file(self, node: str) -> str:
        """Return the SHA-256 (hex) of what a node last saw or wrote in its file of rules; blank if it never did."""
        with self._reader.connect() as connection:
            return connection.execute(select(rule_files.c.sha256).where(rule_files.c.node == node)).scalar() or ""

    def note_file(self, node: str, sha256: str) -> None:
        """Keep what a node's file of rules holds."""
        with self._engine.begin() as connection:
            connection.execute(delete(rule_files).where(rule_files.c.node == node))
            connection.execute(insert(rule_files).values(node=node, sha256=sha256))


def _latest(connection: Connection) -> int:
    return connection.execute(select(func.max(rule_versions.c.number))).scalar() or 0


def _version(row: AnyRow) -> RuleVersion:
    return RuleVersion(**{name: getattr(row, name) for name in RuleVersion.__dataclass_fields__})
