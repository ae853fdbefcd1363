"""Accounts, tokens and the audit trail."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from dicom_node.admin.api.asking import PROBLEMS, Administrator, TheOffice, Viewer
from dicom_node.admin.people import LONGEST_PASSWORD
from dicom_node.ledger import Account, AccountRole, Act, Token

router = APIRouter(prefix="/api", tags=["people"], responses=PROBLEMS)
_Name = Annotated[str, Path(min_length=1, max_length=64)]
_NameField = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
_Password = Annotated[str, Field(min_length=1, max_length=LONGEST_PASSWORD)]


class Me(BaseModel):
    """Who asks."""

    name: str
    role: AccountRole


class AccountState(BaseModel):
    """One account, without its password; times are UTC seconds. With `by_openid` it has none: a provider vouches."""

    name: str
    role: AccountRole
    created_at: float
    last_log_in_at: float | None
    locked: bool
    disabled: bool
    by_openid: bool

    @classmethod
    def of(cls, account: Account, now: float) -> "AccountState":
        """Return what may be shown of an account."""
        shown = {
            name: getattr(account, name) for name in ("name", "role", "created_at", "last_log_in_at", "disabled")
        }
        return cls(**shown, locked=(account.locked_until or 0) > now, by_openid=account.openid is not None)


class NewAccount(BaseModel):
    """An account to make."""

    model_config = ConfigDict(extra="forbid")

    name: _NameField
    role: AccountRole
    password: _Password


class Change(BaseModel):
    """What to change of an account; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: AccountRole | None = None
    password: _Password | None = None
    disabled: bool | None = None


class NewToken(BaseModel):
    """A token to make; without days it holds until it is taken back."""

    model_config = ConfigDict(extra="forbid")

    name: _NameField
    role: AccountRole
    days: Annotated[float | None, Field(gt=0, le=36500)] = None


class Secret(BaseModel):
    """A new token's secret: shown this once."""

    token: str


class AuditPage(BaseModel):
    """Some lines of the audit trail, latest first, and how many there are in all."""

    total: int
    acts: list[Act]


@router.get("/me")
def me(person: Viewer) -> Me:
    """Return who asks, and with which role."""
    return Me(name=person.name, role=person.role)


@router.get("/accounts")
def accounts(office: TheOffice, _person: Administrator) -> list[AccountState]:
    """Return the accounts."""
    return [AccountState.of(each, office.clock()) for each in office.ledger.accounts.every()]


@router.post("/accounts", status_code=201)
def add_account(office: TheOffice, person: Administrator, new: NewAccount) -> Me:
    """Make an account."""
    office.actions.add_account(person, new.name, new.role, new.password)
    return Me(name=new.name, role=new.role)


@router.patch("/accounts/{name}", status_code=204)
def change_account(office: TheOffice, person: Administrator, name: _Name, change: Change) -> None:
    """Change an account; its sessions and its lock end with that."""
    office.actions.change_account(person, name, role=change.role, password=change.password, disabled=change.disabled)


@router.get("/tokens")
def tokens(office: TheOffice, _person: Administrator) -> list[Token]:
    """Return the tokens, without their secrets."""
    return office.ledger.accounts.tokens()


@router.post("/tokens", status_code=201)
def add_token(office: TheOffice, person: Administrator, new: NewToken) -> Secret:
    """Make a token for a program."""
    return Secret(token=office.actions.add_token(person, new.name, new.role, new.days))


@router.delete("/tokens/{name}", status_code=204)
def drop_token(office: TheOffice, person: Administrator, name: _Name) -> None:
    """Take a token back."""
    office.actions.drop_token(person, name)


@router.get("/audit")
def audit(
    office: TheOffice,
    _person: Administrator,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    who: Annotated[str, Query(max_length=64)] = "",
    action: Annotated[str, Query(max_length=40)] = "",
) -> AuditPage:
    """Return who did what, latest first."""
    total, acts = office.ledger.trail.page(offset, limit, who=who, action=action)
    return AuditPage(total=total, acts=acts)
