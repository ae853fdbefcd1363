"""Accounts, their sessions, and tokens: who may do what. Secrets are kept as digests only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Engine, delete, func, select, update

from dicom_node.ledger.admin_schema import accounts, sessions, tokens
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, insert_if_new

#: A session or token that is used all the time is written about once in so many seconds.
_SEEN_EVERY_SECONDS: Final = 30.0


class AccountRole(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def covers(self, needed: "AccountRole") -> bool:
        """Return whether this role may do what `needed` may."""
        order = list(AccountRole)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Account:
    """One person; `password` is an argon2 hash, times are UTC seconds.

    Parameters
    ----------
    openid : str or None
        Whom an OpenID provider vouches for, as a digest of issuer and subject; such an account has no password.
    """

    name: str
    role: AccountRole
    password: str
    created_at: float
    failures: int
    locked_until: float | None
    last_log_in_at: float | None
    disabled: bool
    openid: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in from one browser; `by_openid` if a provider vouched for it."""

    digest: str
    account: str
    role: AccountRole
    opened_at: float
    seen_at: float
    expires_at: float
    by_openid: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """One program that uses the API."""

    name: str
    role: AccountRole
    created_at: float
    created_by: str
    expires_at: float | None
    used_at: float | None


class Accounts:
    """Who may use the pages and the API; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    # -- accounts ------------------------------------------------------------------------------------------------

    def add(self, name: str, role: AccountRole, password: str, at: float) -> bool:
        """Add an account with the hash of its password; return False if the name is taken."""
        values = {"name": name, "role": str(role), "password": password, "created_at": at}
        with self._engine.begin() as connection:
            return insert_if_new(connection, accounts, **values)

    def get(self, name: str) -> Account | None:
        """Return one account."""
        with self._reader.connect() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).first()
        return None if row is None else _account(row)

    def every(self) -> list[Account]:
        """Return all accounts, by name."""
        with self._reader.connect() as connection:
            return [_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.name))]

    def change(
        self,
        name: str,
        *,
        role: AccountRole | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> bool:
        """Change an account, end its sessions and its lock; return False if there is none."""
        given = {"role": None if role is None else str(role), "password": password, "disabled": disabled}
        values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        values |= {"failures": 0, "locked_until": None}
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.account == name))
            return bool(connection.execute(update(accounts).where(accounts.c.name == name).values(**values)).rowcount)

    def rehash(self, name: str, password: str) -> None:
        """Keep the same password under a newer hash; sessions stay."""
        with self._engine.begin() as connection:
            connection.execute(update(accounts).where(accounts.c.name == name).values(password=password))

    def vouched(self, openid: str, name: str, role: AccountRole, at: float) -> tuple[Account | None, Account | None]:
        """Return the account of somebody whom an OpenID provider vouches for as it was, and as it is now.

        It is made at their first log-in; at the others its role becomes what their groups have now, which ends the
        sessions with the role before. Without an account after: the name is taken by somebody else.
        """
        values = {"name": name, "role": str(role), "password": "", "created_at": at, "openid": openid}
        mine = select(accounts).where(accounts.c.openid == openid)
        with self._engine.begin() as connection:
            before = connection.execute(mine).first()
            if before is None:
                insert_if_new(connection, accounts, **values)
            elif before.role != str(role):
                connection.execute(delete(sessions).where(sessions.c.account == before.name))
                connection.execute(update(accounts).where(accounts.c.openid == openid).values(role=str(role)))
            after = connection.execute(mine).first()
        return None if before is None else _account(before), None if after is None else _account(after)

    def note_failure(self, name: str, most: int, locked_until: float, *, counts: bool = True) -> None:
        """Count a wrong password; the last of so many locks the account.

        What does not count, and a name without an account, is written all the same, to a row that stays as it is: how
        long an answer takes does not tell which names there are.
        """
        with self._engine.begin() as connection:
            where = accounts.c.name == name
            failures = connection.execute(select(accounts.c.failures).where(where)).scalar()
            if failures is None or not counts:
                some = select(func.min(accounts.c.name)).scalar_subquery()
                connection.execute(
                    update(accounts).where(accounts.c.name == some).values(failures=accounts.c.failures)
                )
                return
            locks = failures + 1 >= most
            values = {"failures": 0 if locks else failures + 1}
            connection.execute(
                update(accounts).where(where).values(**values, **({"locked_until": locked_until} if locks else {}))
            )

    # -- sessions ------------------------------------------------------------------------------------------------

    def open_session(self, digest: str, account: str, at: float, expires_at: float, address: str) -> None:
        """Keep a new session, and let go of those that are over."""
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at < at))
            connection.execute(
                sessions.insert().values(
                    digest=digest, account=account, opened_at=at, seen_at=at, expires_at=expires_at, address=address
                )
            )
            entered = {"failures": 0, "locked_until": None, "last_log_in_at": at}
            connection.execute(update(accounts).where(accounts.c.name == account).values(**entered))

    def session(self, digest: str, at: float, idle_seconds: float, *, uses: bool = True) -> Session | None:
        """Return a session that is neither over nor idle, of an account that is not disabled; `uses` keeps it so."""
        statement = (
            select(sessions, accounts.c.role, accounts.c.openid)
            .join(accounts, accounts.c.name == sessions.c.account)
            .where(
                sessions.c.digest == digest,
                sessions.c.expires_at > at,
                sessions.c.seen_at > at - idle_seconds,
                accounts.c.disabled.is_(False),
            )
        )
        with self._reader.connect() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        if uses and row.seen_at < at - _SEEN_EVERY_SECONDS:
            with self._engine.begin() as connection:
                connection.execute(update(sessions).where(sessions.c.digest == digest).values(seen_at=at))
        times = row.opened_at, row.seen_at, row.expires_at
        return Session(row.digest, row.account, AccountRole(row.role), *times, by_openid=row.openid is not None)

    def close_session(self, digest: str) -> None:
        """End a session."""
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest))

    # -- tokens --------------------------------------------------------------------------------------------------

    def add_token(
        self, name: str, digest: str, role: AccountRole, at: float, by: str, expires_at: float | None = None
    ) -> bool:
        """Keep a new token by its digest; return False if the name is taken."""
        values = {"name": name, "digest": digest, "role": str(role), "created_at": at, "created_by": by}
        with self._engine.begin() as connection:
            return insert_if_new(connection, tokens, **values, expires_at=expires_at)

    def token(self, digest: str, at: float) -> Token | None:
        """Return the token that a digest is of, unless it is over."""
        with self._reader.connect() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
        if row is None or (row.expires_at is not None and row.expires_at <= at):
            return None
        if row.used_at is None or row.used_at < at - _SEEN_EVERY_SECONDS:
            with self._engine.begin() as connection:
                connection.execute(update(tokens).where(tokens.c.digest == digest).values(used_at=at))
        return _token(row)

    def tokens(self) -> list[Token]:
        """Return all tokens, by name."""
        with self._reader.connect() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.name))]

    def drop_token(self, name: str) -> bool:
        """Take a token back; return whether there was one."""
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount)


def _account(row: AnyRow) -> Account:
    values = {name: getattr(row, name) for name in Account.__dataclass_fields__}
    return Account(**(values | {"role": AccountRole(row.role)}))


def _token(row: AnyRow) -> Token:
    values = {name: getattr(row, name) for name in Token.__dataclass_fields__}
    return Token(**(values | {"role": AccountRole(row.role)}))
