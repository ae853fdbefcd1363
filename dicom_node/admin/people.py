"""Who asks: log-in with lock-out, sessions, tokens, and what follows from them: a name and a role.

A session's secret is in a cookie that scripts cannot read and other sites cannot send (HttpOnly, SameSite=Strict);
requests that change something also need the session's CSRF token, which only a page of ours can know.
"""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicom_node.admin.openid import Known
from dicom_node.errors import Failure
from dicom_node.ledger import AccountRole, Accounts, Act, Ledger
from dicom_node.settings import AdminSettings

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1024
_NAME_LENGTH: Final = 64
_SECRET_BYTES: Final = 32
#: Log-ins that may wait for each other's password to be verified, which takes time and memory on purpose.
_MOST_AT_ONCE: Final = 8
#: Whom an OpenID provider may name: nobody who looks like a token or the command line in the audit trail.
_VOUCHED_NAME: Final = re.compile(r"(?!token )\w[\w .@'+-]*(?<! )")


class NotAllowed(Failure):
    """Somebody's role does not cover what they ask for."""


class AccountRefused(Failure):
    """An account cannot be made or changed as asked; the text says why."""


class LogInRefused(Failure):
    """Nobody gets in by this; of a password the same words for all reasons, so that nothing is learned."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a person in a session, or a program with a token.

    Parameters
    ----------
    csrf : str
        What requests of a session must repeat in order to change something; empty for tokens.
    """

    name: str
    role: AccountRole
    address: str
    csrf: str = ""

    def need(self, role: AccountRole) -> None:
        """Return if the person may do what a role may; raises NotAllowed."""
        if not self.role.covers(role):
            raise NotAllowed(f"this needs the role {role}; {self.name} is {self.role}")


def digest_of(secret: str) -> str:
    """Return what is kept of a session's or token's secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """Return the secret of a new token; the prefix lets scanners of repositories know it."""
    return f"dcmnode_{secrets.token_urlsafe(_SECRET_BYTES)}"


class People:
    """Opens and checks log-ins.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, ledger: Ledger, settings: AdminSettings, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._hasher = PasswordHasher()
        # verified against where there is no account, so that an unknown name takes as long as a wrong password
        self._nobody = self._hasher.hash(secrets.token_urlsafe(_SECRET_BYTES))
        self._waiting = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._one_by_one = threading.Lock()

    @property
    def _accounts(self) -> Accounts:
        return self._ledger.accounts

    def log_in(self, name: str, password: str, address: str) -> str:
        """Return the secret of a new session; raises LogInRefused."""
        openid = self._settings.openid
        if openid is not None and not openid.password_log_in:
            raise LogInRefused("passwords are switched off: see password_log_in of [admin.openid]")
        with self._in_turn():
            account = self._accounts.get(name)
            has_password = account is not None and account.openid is None
            right = self._verify(account.password if account and has_password else self._nobody, password)
            locked = account is not None and (account.locked_until or 0.0) > self._clock()
            if account is None or not has_password or not right or locked or account.disabled:
                until = self._clock() + self._settings.lock_minutes * 60
                counts = has_password and not locked
                self._accounts.note_failure(name, self._settings.lock_after, until, counts=counts)
                self._note("log-in refused", name if account else "(unknown name)", address)
                raise LogInRefused("name or password is wrong, or the account is locked for a while")
        if self._hasher.check_needs_rehash(account.password):
            self._accounts.rehash(name, self._hasher.hash(password))
        return self._opened(name, address, {"role": str(account.role)})

    def vouched(self, known: Known, address: str) -> str:
        """Return the secret of a new session of whom the OpenID provider vouches for; raises LogInRefused."""
        name = known.name
        if len(name) > _NAME_LENGTH or _VOUCHED_NAME.fullmatch(name) is None:
            self.refused("", address, "the provider gives a name that is none")
            raise LogInRefused(f"The provider gives a name that is none here: 1 to {_NAME_LENGTH} letters or digits.")
        before, after = self._accounts.vouched(known.digest, name, known.role, self._clock())
        if after is None:
            self.refused(name, address, "the name is taken by an account with a password, or of somebody else")
            raise LogInRefused(f"There is an account {name} already that is not yours: ask the node's administrator.")
        if after.disabled:
            self.refused(after.name, address, "the account is disabled")
            raise LogInRefused(f"The account {after.name} is disabled: ask the node's administrator.")
        if before is not None and before.role is not after.role:
            roles = {"role": str(before.role)}, {"role": str(after.role), "by": "groups at the OpenID provider"}
            self._note("change account", after.name, address, *roles)
        return self._opened(after.name, address, {"role": str(after.role), "by": "OpenID Connect"})

    def refused(self, name: str, address: str, reason: str) -> None:
        """Record that somebody whom the OpenID provider sent was not let in."""
        self._note("log-in refused", name or "(unknown name)", address, None, {"reason": reason})

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One after the other: no failure is counted too late, and memory for hashes is taken once."""
        if not self._waiting.acquire(blocking=False):
            raise LogInRefused("many log in just now")
        try:
            with self._one_by_one:
                yield
        finally:
            self._waiting.release()

    def _opened(self, name: str, address: str, how: Mapping[str, Any]) -> str:
        secret, now = secrets.token_urlsafe(_SECRET_BYTES), self._clock()
        expires_at = now + self._settings.session_hours * 3600
        self._accounts.open_session(digest_of(secret), name, now, expires_at, address)
        self._note("log in", name, address, None, how)
        return secret

    def log_out(self, secret: str, person: Person) -> None:
        """End a session."""
        self._accounts.close_session(digest_of(secret))
        self._note("log out", person.name, person.address)

    def forget(self, secret: str) -> None:
        """End a session that another takes the place of."""
        self._accounts.close_session(digest_of(secret))

    def of_session(self, secret: str, address: str, *, uses: bool = True) -> Person | None:
        """Return whose session a secret is of; None if it is over.

        Parameters
        ----------
        uses : bool
            False where nobody did anything: a page that renews itself.
        """
        idle_seconds = self._settings.idle_minutes * 60
        session = self._accounts.session(digest_of(secret), self._clock(), idle_seconds, uses=uses)
        if session is None or not self._is_wanted(by_openid=session.by_openid):
            return None
        return Person(session.account, session.role, address, csrf_of(secret))

    def _is_wanted(self, *, by_openid: bool) -> bool:
        """Return whether node.toml, which may have been changed since, still lets people in this way."""
        openid = self._settings.openid
        return openid is not None if by_openid else openid is None or openid.password_log_in

    def of_token(self, secret: str, address: str) -> Person | None:
        """Return what a token stands for; None if there is no such token, or it is over."""
        token = self._accounts.token(digest_of(secret), self._clock())
        return None if token is None else Person(f"token {token.name}", token.role, address)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return len(password) <= LONGEST_PASSWORD and self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _note(
        self,
        action: str,
        name: str,
        address: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        self._ledger.trail.note(Act(self._clock(), name[:_NAME_LENGTH], address, action, name, before, after))


def csrf_of(secret: str) -> str:
    """Return a session's CSRF token: derived from its secret, so that nothing more need be kept."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def hashed_password(name: str, password: str) -> str:
    """Return the argon2id hash of a new password.

    Raises
    ------
    AccountRefused
        If the name or the password will not do.
    """
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise AccountRefused(f"a name has 1 to {_NAME_LENGTH} letters, without spaces around them")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountRefused(f"a password has at least {SHORTEST_PASSWORD} letters; a few words are good")
    if password.casefold() in (name.casefold(), name.casefold() * 2):
        raise AccountRefused("the password must not be the name")
    return PasswordHasher().hash(password)
