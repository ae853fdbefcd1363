"""An office on a real ledger, its web application without a network, and people of every role."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.testclient import TestClient

from dicom_node.admin.app import make_app
from dicom_node.admin.office import Office, open_office
from dicom_node.admin.people import Person, hashed_password
from dicom_node.admin.vitals import Reach, Vitals
from dicom_node.ledger import AccountRole, Ledger
from dicom_node.live_settings import LiveSettings
from dicom_node.settings import AdminSettings, NodeSettings, load_settings
from tests.ledger_cases import NOW, Clock, arrive, fresh_ledger, image, read_headers

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of accounts in tests
ADMINISTRATOR: Final = Person("root", AccountRole.ADMINISTRATOR, "127.0.0.1")
#: When an office opens: an hour after the first study came.
OPENED: Final = NOW + 3600
#: The settings file of an office: one destination, nobody who may send.
NODE_TOML: Final = """# who we are
[node]
name = "node1"   # in the log

[[destination]]
name = "pacs"  # the big one
ae_title = "PACS"
host = "127.0.0.1"
port = 1

# nobody may send yet
[log]
level = "info"
"""
#: One password hash for all: argon2 is slow on purpose.
_HASH: Final = hashed_password("somebody", PASSWORD)


@dataclass
class Bench:
    """An office with its clock, and clients of its application."""

    office: Office
    clock: Clock
    reaches: dict[str, Reach] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return self.office.ledger

    def client(self) -> TestClient:
        """Return a browser that has not logged in."""
        return TestClient(make_app(self.office), base_url="http://node", follow_redirects=False)

    def program(self, role: AccountRole) -> TestClient:
        """Return a program with a token of a role."""
        name = f"program-{role}-{len(self.ledger.accounts.tokens())}"
        secret = self.office.actions.add_token(ADMINISTRATOR, name, role)
        client = self.client()
        client.headers["authorization"] = f"Bearer {secret}"
        return client

    def person(self, role: AccountRole, name: str = "") -> TestClient:
        """Return a browser in which somebody of a role has logged in."""
        name = name or f"the-{role}"
        self.ledger.accounts.add(name, role, _HASH, self.clock())
        client = self.client()
        assert log_in(client, name).status_code == 303
        return client


def log_in(client: TestClient, name: str, password: str = PASSWORD) -> Any:
    """Fill in the log-in form and send it."""
    client.get("/login")
    token = client.cookies["dicom_node_form"]
    return client.post("/login", data={"name": name, "password": password, "form_token": token})


@contextmanager
def bench(folder: Path, **admin: Any) -> Iterator[Bench]:
    """Give an office whose node has one destination, "pacs", at a closed port."""
    clock = Clock(OPENED)
    config = folder / "node.toml"
    config.write_text(NODE_TOML)
    given = {"node": NodeSettings(data=folder), "admin": AdminSettings(**admin)}
    settings = load_settings(config).model_copy(update=given)
    reaches: dict[str, Reach] = {}

    def vitals() -> Vitals:
        return Vitals(NOW, 2, 2, 1, 1, "cpu", reaches)

    with fresh_ledger(folder) as ledger:
        office = open_office(LiveSettings(settings, config, ledger, clock), ledger, folder / "store", clock, vitals)
        yield Bench(office, clock, reaches)


def study(ledger: Ledger, uid: str, header: Mapping[str, list[Any]], at: float = NOW) -> None:
    """Receive one image of a study, with a header."""
    arrive(ledger, image(1, study=uid), at=at)
    read_headers(ledger, json.dumps(header))
