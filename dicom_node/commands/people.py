"""Commands for who may use the pages and the API: the first account, forgotten passwords, tokens for programs."""

import getpass
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from dicom_node.admin.actions import Actions
from dicom_node.admin.people import Person
from dicom_node.commands.app import DEFAULT_CONFIG, ConfigOption, app, failures_shown, out, settings_of
from dicom_node.ledger import AccountRole, Ledger, open_ledger
from dicom_node.node import ledger_url
from dicom_node.settings import Settings

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who.")]
_NAME_LENGTH: Final = 64


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Ledger, Actions, Person]]:
    """Open the ledger (the first account may be made before the node has ever run), and say who asks.

    Whoever may write the ledger's file is its master anyhow.
    """
    settings.node.data.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(ledger_url(settings))
    try:
        somebody = Person(f"{getpass.getuser()} (command line)"[:_NAME_LENGTH], AccountRole.ADMINISTRATOR, "")
        yield ledger, Actions(ledger, settings, time.time), somebody
    finally:
        ledger.close()


def _asked_password() -> str:
    """Return a password that was typed twice, or the first line of standard input where nobody can type."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@app.command()
def account(
    name: NameArgument,
    role: Annotated[AccountRole | None, typer.Option(help="What they may do; of a new one: administrator.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make an account for the pages, or give one a new password and let it in again; the password is asked for."""
    settings = settings_of(config)
    with failures_shown(), _opened(settings) as (ledger, actions, somebody):
        if ledger.accounts.get(name) is None:
            actions.add_account(somebody, name, role or AccountRole.ADMINISTRATOR, _asked_password())
        else:
            actions.change_account(somebody, name, role=role, password=_asked_password(), disabled=False)
        known = ledger.accounts.get(name)
    out.print(f"{name} can log in as {known.role if known else role}", markup=False)


@app.command()
def token(
    name: NameArgument,
    role: Annotated[AccountRole, typer.Option(help="What the program may do.")] = AccountRole.VIEWER,
    days: Annotated[float | None, typer.Option(help="Valid for so many days.", min=0.01)] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a token for a program that uses the API, and print it: it cannot be shown again."""
    settings = settings_of(config)
    with failures_shown(), _opened(settings) as (_, actions, somebody):
        secret = actions.add_token(somebody, name, role, days)
    typer.echo(secret)
