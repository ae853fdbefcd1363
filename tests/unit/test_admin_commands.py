"""Accounts and tokens on the command line, before a node has ever run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.__main__ import app
from dicom_node.admin.people import digest_of
from dicom_node.ledger import AccountRole, Ledger, open_ledger
from tests.ledger_cases import NOW


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text('[node]\ndata = "data"\n')
    return path


def _ledger(config: Path) -> Ledger:
    return open_ledger(f"sqlite:///{config.parent / 'data' / 'ledger.sqlite'}", create=False)


def test_the_first_account_and_its_new_password(config: Path) -> None:
    """The first account is an administrator's; asked for again, it gets a new password, and is let in again."""
    run = CliRunner().invoke
    made = run(app, ["account", "ada", "--config", str(config)], input="correct horse battery\n")
    assert made.output.strip().endswith("ada can log in as administrator")
    ledger = _ledger(config)
    before = ledger.accounts.get("ada")
    ledger.accounts.change("ada", disabled=True)
    changed = run(
        app, ["account", "ada", "--role", "viewer", "--config", str(config)], input="battery staple horse\n"
    )
    assert changed.exit_code == 0
    after = ledger.accounts.get("ada")
    assert before is not None
    assert after is not None
    assert (before.role, after.role, after.disabled) == (AccountRole.ADMINISTRATOR, AccountRole.VIEWER, False)
    assert before.password != after.password
    assert after.password.startswith("$argon2id$")
    assert [act.action for act in ledger.trail.page()[1]] == ["change account", "add account"]
    ledger.close()


@pytest.mark.parametrize(("name", "password"), [("ada", "short"), ("ada", ""), (" ada", "a long password")])
def test_what_will_not_do_is_said(config: Path, name: str, password: str) -> None:
    """A short password or a strange name makes no account."""
    said = CliRunner().invoke(app, ["account", name, "--config", str(config)], input=f"{password}\n")
    assert said.exit_code == 1
    ledger = _ledger(config)
    assert ledger.accounts.every() == []
    ledger.close()


def test_a_token_is_printed_once_and_kept_as_digest(config: Path) -> None:
    """The ledger has only the digest of what is printed."""
    said = CliRunner().invoke(app, ["token", "grafana", "--role", "operator", "--config", str(config)])
    secret = said.stdout.strip().splitlines()[-1]
    ledger = _ledger(config)
    found = ledger.accounts.token(digest_of(secret), NOW)
    assert found is not None
    assert (found.name, found.role) == ("grafana", AccountRole.OPERATOR)
    ledger.close()
    assert secret.encode() not in (config.parent / "data" / "ledger.sqlite").read_bytes()
