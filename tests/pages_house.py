"""A running node with its pages, people of every role and a few studies, for the tests in a browser."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.peers import NodeProcess
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.stored import free_port, peer
from dicom_node.lifecycle import JobState
from tests.node_house import RULES, House, Moods, settings_of
from tests.study_cases import write_study

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of an account in a test


@dataclass(frozen=True)
class Pages:
    """A running node, where its pages are, and a study that ran, one that is held and one that no rule wants."""

    house: House
    address: str
    ran: str
    held: str
    unwanted: str


@contextmanager
def running_pages(folder: Path) -> Iterator[Pages]:
    """Run a node with three studies: one that ran, one that is held and one that no rule wants."""
    pacs = SmallPacs(folder / "pacs", "PACS1")
    others = {name: SmallPacs(folder / name, name.upper()) for name in ("choosy", "away")}
    port, web = free_port(), free_port()
    peers = {"pacs": peer(pacs), **{name: peer(each) for name, each in others.items()}}
    completion = "quiet_seconds = 3\nrelease_grace_seconds = 0.5"
    text = settings_of(peers, port, completion=completion).replace("enabled = false", f"port = {web}")
    node = NodeProcess(folder / "node", text, RULES, port)
    with pacs, others["choosy"], node, node.ledger() as ledger:
        house = House(node, ledger, pacs, others["choosy"], others["away"], Moods())
        for name, role in (("ada", "administrator"), ("olga", "operator"), ("vic", "viewer")):
            _add_account(house, name, role)
        studies = {}
        for description in ("bright_voxels", "unforeseen_error", "nothing for anybody"):
            study = write_study(folder / description, description, slices=8)
            house.push(folder / description)
            studies[description] = study
        house.job(studies["unforeseen_error"], JobState.HELD)
        house.delivered(studies["bright_voxels"])
        house.routed(studies["nothing for anybody"])
        yield Pages(house, f"http://127.0.0.1:{web}", *studies.values())


def _add_account(house: House, name: str, role: str) -> None:
    command = [sys.executable, "-m", "dicom_node", "account", name, "--role", role]
    subprocess.run(
        [*command, "--config", str(house.node.config)], input=f"{PASSWORD}\n", text=True, check=True, timeout=120
    )
