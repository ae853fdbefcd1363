"""A running node with its pages, people of every role and a few studies, for the tests in a browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

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
    text = settings_of(peers, port, completion=completion, admin=f"port = {web}")
    node = NodeProcess(folder / "node", text, RULES, port)
    with pacs, others["choosy"], node, node.ledger() as ledger:
        house = House(node, ledger, pacs, others["choosy"], others["away"], Moods())
        add_people(node)
        studies = {}
        for description in ("bright_voxels", "unforeseen_error", "nothing for anybody"):
            study = write_study(folder / description, description, slices=8)
            house.push(folder / description)
            studies[description] = study
        house.job(studies["unforeseen_error"], JobState.HELD)
        house.delivered(studies["bright_voxels"])
        house.routed(studies["nothing for anybody"])
        yield Pages(house, f"http://127.0.0.1:{web}", *studies.values())


def add_people(node: NodeProcess) -> None:
    """Make an account of each role."""
    for name, role in (("ada", "administrator"), ("olga", "operator"), ("vic", "viewer")):
        add_account(node, name, "--role", role)


def add_account(node: NodeProcess, name: str, *options: str) -> None:
    """Make an account as an administrator does, by the command."""
    command = [sys.executable, "-m", "dicom_node", "account", name, *options, "--config", str(node.config)]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, timeout=120)


def picture(page: Page, name: str) -> None:
    """Write a picture of a page, if pictures are asked for."""
    if folder := os.environ.get("DICOM_NODE_SCREENSHOTS"):
        page.wait_for_timeout(400)  # a dialog fades in
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
