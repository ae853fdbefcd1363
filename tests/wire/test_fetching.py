"""The stage that fetches, with DCMTK's archive: priors for a job, missing images of a study, trouble on the way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from pydicom import dcmread

from dicom_node.compute import Compute
from dicom_node.contract import Role
from dicom_node.demo.stored import free_port
from dicom_node.entities import Peer
from dicom_node.fetching import Fetching
from dicom_node.flow import Flow
from dicom_node.ledger import Fetch, Ledger
from dicom_node.lifecycle import FetchState, JobState, StudyState
from dicom_node.routing import parse_rules
from dicom_node.rulebook import Rules
from dicom_node.settings import Archive, CompletionSettings, Retrieve, Settings
from dicom_node.task import Order
from tests.fetching_cases import Clock, FetchingNode, dcmqrscp, dicom_archive, fetching_node, fill, until_true
from tests.study_cases import PATIENT, write_study

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_RULE: Final = """
[[rule]]
name = "compare"
pipeline = "compares"
destinations = ["pacs"]
[rule.inputs.t1]
Modality = "MR"
[rule.priors]
archive = "pacs"
time_limit_seconds = 60
[rule.priors.inputs.prior]
Modality = "MR"
SeriesDescription = "T1"
"""
_ROLES: Final = {"compares": {"t1": Role("now"), "prior": Role("before", prior=True)}}


@dataclass
class _Hands:
    """Stands where the worker processes are, and remembers what it was given."""

    orders: list[Order] = field(default_factory=list)

    def free_slots(self) -> int:
        return 1

    def submit(self, _job: int, _step: Any, _number: int, order: Order) -> None:
        self.orders.append(order)

    def cancel(self, _job: int) -> None:
        return

    def running(self) -> set[int]:
        return set()

    def collect(self) -> list[Any]:
        return []


@dataclass
class _House:
    """A node whose stages are called by hand, with an archive."""

    node: FetchingNode
    settings: Settings
    archive: Peer
    hands: _Hands = field(default_factory=_Hands)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin anew, as a node does after a kill -9."""
        compute: Compute = self.hands  # type: ignore[assignment]
        rules = Rules(parse_rules(_RULE, "rules.toml", _ROLES, {"pacs"}, {"pacs"}), _RULE)
        self.flow = Flow(self.settings, self.ledger, self.node.store, compute, lambda: rules, self.clock)
        self.fetching = Fetching(self.settings, self.ledger, self.node.store, self.clock)

    @property
    def clock(self) -> Clock:
        return self.node.clock

    @property
    def ledger(self) -> Ledger:
        return self.node.ledger

    def receive(self, folder: Path, study: str) -> None:
        """Let a scanner send a folder, and wait until the ledger has it."""
        fill(self.node.peer, folder)
        count = len(list(folder.iterdir()))
        found = until_true(lambda: [r for r in self.ledger.studies.revisions(study) if r.instances >= count])
        assert found

    def tick(self, *, fetch: bool = True) -> None:
        self.flow.read_headers()
        self.flow.close_quiet()
        self.flow.route()
        if fetch:
            self.fetching.fetch(self.settings.archives[0])
        self.fetching.give_up_late()
        self.flow.run()

    def quiet(self, *, fetch: bool = True) -> None:
        """Let time pass until what came is quiet, and look."""
        self.clock.ahead += 2
        for _ in range(3):
            self.tick(fetch=fetch)

    def fetch_of(self, study: str) -> Fetch:
        (fetch,) = self.ledger.fetches.of_study(study)
        return fetch


@pytest.fixture
def archive(require_tool: Any) -> Path:
    return Path(require_tool("dcmqrscp", "dcmtk"))


@contextmanager
def _house(folder: Path, program: Path, completion: str = "", **more: Any) -> Iterator[_House]:
    with fetching_node(folder / "node") as node, dcmqrscp(program, folder / "dcmqrscp", node.peer) as peer:
        archives: tuple[Archive, ...] = (dicom_archive(peer, **more),)
        policy = CompletionSettings(
            quiet_seconds=1, release_grace_seconds=0.5, archive=completion, archive_seconds=30
        )
        settings = node.puller.settings.model_copy(update={"archives": archives, "completion": policy})
        yield _House(node, settings, peer)


def _study(folder: Path, date: str = "20260101", slices: int = 3, **more: str) -> str:
    return write_study(folder, slices=slices, StudyDate=date, BodyPartExamined="HEAD", **more)


@pytest.mark.parametrize("retrieve", [Retrieve.GET, Retrieve.MOVE])
def test_a_job_runs_with_the_newest_prior(tmp_path: Path, archive: Path, retrieve: Retrieve) -> None:
    """Not one too old, of another body part or another patient: the newest fills the role, and none is routed."""
    with _house(tmp_path, archive, retrieve=retrieve) as house:
        dates = {"newest": "20250101", "older": "20240101", "old": "20200101"}
        studies = {name: _study(tmp_path / name, date) for name, date in dates.items()}
        _study(tmp_path / "stranger", "20250601", PatientID="PID-1")
        write_study(tmp_path / "knee", slices=2, StudyDate="20250701", BodyPartExamined="KNEE")
        for name in (*dates, "stranger", "knee"):
            fill(house.archive, tmp_path / name)
        now = _study(tmp_path / "now")
        house.receive(tmp_path / "now", now)
        house.quiet()
        fetch = house.fetch_of(now)
        assert fetch.state is FetchState.DONE
        both = f"{studies['newest']}, {studies['older']}"
        assert f" instances came by {retrieve}; earlier studies {both};" in fetch.reason
        assert "left out: 1 older than 5 years, 1 without a series that agrees" in fetch.reason
        (order,) = house.hands.orders
        assert set(order.inputs) == {"t1"}
        assert {ref.study_instance_uid for ref in order.priors["prior"]} == {studies["newest"]}
        assert len(order.priors["prior"]) == 3
        for _ in range(3):
            house.quiet()
        for name in ("newest", "older"):
            (revision,) = house.ledger.studies.revisions(studies[name])
            assert revision.state is StudyState.PRIOR
            assert f"it was only fetched as prior of {now}" in revision.reason
        assert [job.study_instance_uid for job in house.ledger.jobs.latest(9)] == [now]
        assert PATIENT[1] not in fetch.reason


def test_a_prior_that_a_scanner_sends_later_is_routed(tmp_path: Path, archive: Path) -> None:
    """The same bytes, pushed: now it has a job of its own."""
    with _house(tmp_path, archive) as house:
        before, now = _study(tmp_path / "before", "20250101"), _study(tmp_path / "now")
        fill(house.archive, tmp_path / "before")
        house.receive(tmp_path / "now", now)
        house.quiet()
        house.quiet()
        assert house.ledger.fetches.only_prior(before)
        fill(house.node.peer, tmp_path / "before")
        assert until_true(lambda: not house.ledger.fetches.only_prior(before))
        house.quiet()
        assert {job.study_instance_uid for job in house.ledger.jobs.latest(9)} == {before, now}


def test_without_a_prior_the_job_runs_without_one(tmp_path: Path, archive: Path) -> None:
    """The reason says that there is none."""
    with _house(tmp_path, archive) as house:
        now = _study(tmp_path / "now")
        house.receive(tmp_path / "now", now)
        house.quiet()
        assert "the archive has no earlier study of this patient" in house.fetch_of(now).reason
        (order,) = house.hands.orders
        assert order.priors == {}


def test_a_prior_of_another_patient_is_not_used(tmp_path: Path, archive: Path) -> None:
    """The archive's index says the right patient, the headers of one image another: not used, and nobody is named."""
    with _house(tmp_path, archive) as house:
        before, now = _study(tmp_path / "before", "20250101"), _study(tmp_path / "now")
        path = tmp_path / "before" / "0001.dcm"
        wrong = dcmread(path)
        wrong.PatientID = "PID-GEHEIM"
        wrong.save_as(path)
        fill(house.archive, tmp_path / "before")
        house.receive(tmp_path / "now", now)
        house.quiet()
        fetch = house.fetch_of(now)
        assert (fetch.state, "1 of another patient, by its own headers" in fetch.reason) == (FetchState.DONE, True)
        assert "GEHEIM" not in fetch.reason
        (order,) = house.hands.orders
        assert order.priors == {}
        assert before not in {job.study_instance_uid for job in house.ledger.jobs.latest(9)}


def test_an_archive_that_is_down_is_asked_again_and_then_let_be(tmp_path: Path, archive: Path) -> None:
    """The job waits, with the reason; when the time is over it runs with what there is."""
    with _house(tmp_path, archive) as house:
        away = house.settings.archives[0].model_copy(update={"port": free_port()})
        house.settings = house.settings.model_copy(update={"archives": (away,)})
        house.start()
        now = _study(tmp_path / "now")
        house.receive(tmp_path / "now", now)
        house.quiet()
        assert house.fetch_of(now).state is FetchState.WAITING
        (job,) = house.ledger.jobs.latest(9)
        assert (job.state, "does not answer" in job.reason) == (JobState.QUEUED, True)
        assert house.hands.orders == []
        house.clock.ahead += 61
        house.quiet()
        fetch = house.fetch_of(now)
        assert (fetch.state, "given up after 60 s" in fetch.reason) == (FetchState.GIVEN_UP, True)
        assert len(house.hands.orders) == 1


def test_a_node_that_was_killed_asks_again(tmp_path: Path, archive: Path) -> None:
    """Killed while it fetched: at the next start the fetch is taken back, and only what is lacking comes."""
    with _house(tmp_path, archive) as house:
        before, now = _study(tmp_path / "before", "20250101"), _study(tmp_path / "now")
        fill(house.archive, tmp_path / "before")
        house.receive(tmp_path / "now", now)
        house.quiet(fetch=False)
        (fetch,) = house.ledger.fetches.start("pacs", "node1", house.clock(), 5)
        house.ledger.fetches.name_priors(fetch, [before], "DCMQR", house.clock())
        node = house.node.with_archive(house.settings.archives[0])
        contents = node.speaker().contents(before)
        ((series, images),) = contents.items()
        one = {series: dict(list(images.items())[:1])}
        asked = node.puller.archive("pacs")
        node.puller.pull(asked, {before: contents}, {before: one}, time.monotonic() + 20, priors=True)
        house.start()
        house.flow.take_back(starting=True)
        house.quiet()
        done = house.fetch_of(now)
        assert (done.state, done.attempts) == (FetchState.DONE, 2)
        assert done.reason.startswith("2 of 2 instances came by C-GET")
        (order,) = house.hands.orders
        assert len(order.priors["prior"]) == 3


@pytest.mark.parametrize("retrieve", [Retrieve.GET, Retrieve.MOVE])
def test_missing_images_come_before_the_study_is_frozen(tmp_path: Path, archive: Path, retrieve: Retrieve) -> None:
    """The scanner sent two of four images here: one revision holds all four, and says where they came from."""
    with _house(tmp_path, archive, completion="pacs", retrieve=retrieve) as house:
        now = _study(tmp_path / "now", slices=4)
        fill(house.archive, tmp_path / "now")
        fill(house.node.peer, tmp_path / "now", 2)
        assert until_true(lambda: house.ledger.studies.revisions(now))
        house.quiet()
        house.quiet()
        house.quiet()
        (revision,) = house.ledger.studies.revisions(now)
        assert (revision.state, revision.instances) == (StudyState.ROUTED, 4)
        assert f"asked pacs what is missing: 2 of 2 instances came by {retrieve}" in revision.reason
        (order,) = house.hands.orders
        assert len(order.inputs["t1"]) == 4


def test_a_study_that_the_archive_lacks_goes_on(tmp_path: Path, archive: Path) -> None:
    """The reason says so; the study is not held up."""
    with _house(tmp_path, archive, completion="pacs") as house:
        now = _study(tmp_path / "now")
        house.receive(tmp_path / "now", now)
        house.quiet()
        house.quiet()
        (revision,) = house.ledger.studies.revisions(now)
        assert (revision.state, "it does not have the study" in revision.reason) == (StudyState.ROUTED, True)


def test_a_study_waits_no_longer_for_an_archive_than_it_may(tmp_path: Path, archive: Path) -> None:
    """An archive that is away: received until its time is over, then complete with the reason."""
    with _house(tmp_path, archive, completion="pacs") as house:
        away = house.settings.archives[0].model_copy(update={"port": free_port()})
        house.settings = house.settings.model_copy(update={"archives": (away,)})
        house.start()
        now = _study(tmp_path / "now")
        house.receive(tmp_path / "now", now)
        house.quiet()
        (revision,) = house.ledger.studies.revisions(now)
        assert revision.state is StudyState.RECEIVING
        house.clock.ahead += 31
        house.quiet()
        (revision,) = house.ledger.studies.revisions(now)
        assert (revision.state, "given up after 30 s" in revision.reason) == (StudyState.ROUTED, True)
