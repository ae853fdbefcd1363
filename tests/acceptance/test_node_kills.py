"""Never lost, never twice: the installed node killed -9 at every stage, and at random moments."""

import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import psutil
import pytest

from bench import kills
from bench.peers import NodeProcess
from dicom_node.demo import loopback
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import free_port, peer
from dicom_node.lifecycle import ARRIVED, JobState
from tests.node_house import kinds, rule, settings_of, until
from tests.study_cases import write_study

_SLOW: Final = rule("slow", extra="settings = { seconds = 1.0 }")


def test_kill_9_at_every_stage(tmp_path: Path) -> None:
    """The node killed while it receives, runs and sends: after each start the study goes on."""
    pacs = SmallPacs(tmp_path / "pacs", "PACS1")
    images = tmp_path / "images"
    study = write_study(images, "slow")
    port = free_port()
    node = NodeProcess(tmp_path / "node", settings_of({"pacs": peer(pacs)}, port), _SLOW, port)
    node.start()
    push(find_study(images)[:3], node.peer, "SCANNER", lambda _: None)
    _kill_all(node)
    node.start()
    push(find_study(images), node.peer, "SCANNER", lambda _: None)
    with node.ledger() as ledger:
        until(lambda: ledger.jobs.latest(1, state=JobState.RUNNING))
        _kill_all(node)
        node.start()
        (job,) = until(lambda: ledger.jobs.latest(1, state=JobState.DONE))
        assert job.attempts == 1  # a kill costs no attempt
        until(lambda: all(d.attempts > 0 for d in ledger.deliveries.of_study(study)))
        _kill_all(node)
        with pacs:
            node.start()
            until(lambda: all(d.state in ARRIVED for d in ledger.deliveries.of_study(study)))
            assert kinds(pacs, study) == ["SEG", "SR"]
            assert [r.number for r in ledger.studies.revisions(study)] == [1]
            assert len(ledger.studies.received(study, 1) or ()) == 6
        node.stop()


def test_receivers_are_no_workers(tmp_path: Path) -> None:
    """What kills workers kills no receiver, and the other way round: each process of a node is counted once."""
    with NodeProcess.alone(tmp_path / "node", reception="processes = 2", compute="workers = 2") as node:
        until(lambda: len(node.workers()) == 2)
        receivers = set(node.receivers()) - {node.pid}
        assert len(receivers) == 2
        assert not receivers & set(node.workers())


def _kill_all(node: NodeProcess) -> None:
    """Kill the node; its workers and receivers must not outlive it for long: a receiver still answers the port."""
    others = {*node.workers(), *node.receivers()}
    node.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid in others), 30)


# pynetdicom 3.0 leaves its socket to the garbage collector when a connection is refused, as one often is here
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_kills_at_random_moments(
    tmp_path: Path, shared_data: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> None:
    """A short run of `bench.kills`: nothing lost, nothing twice, everything settled."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    series = shared_data / "t1-patient-positions"
    counts = kills.run(
        tmp_path,
        series,
        3,
        6,
        random.Random(7),  # noqa: S311 - the same kills each time
        lambda _: None,
    )
    assert {name: counts[name] for name in ("lost", "duplicated at the PACS", "not settled")} == {
        "lost": 0,
        "duplicated at the PACS": 0,
        "not settled": 0,
    }
    gc.collect()  # while such a socket may still be found without failing a later test
