"""The stages of the journey on a real ledger and a real store, with a clock that is moved by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dicom_node.compute import Ended
from dicom_node.counts import Counts
from dicom_node.entities import Association
from dicom_node.errors import Failure
from dicom_node.flow import Flow, run_order
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Job, Ledger
from dicom_node.lifecycle import JobState
from dicom_node.routing import parse_rules
from dicom_node.rulebook import Rules
from dicom_node.settings import ComputeSettings, DicomDestination, Settings
from dicom_node.study_folder import one_study
from dicom_node.task import Answer, Order
from tests.ledger_cases import NOW, SCANNER, Clock, arrive, made
from tests.study_cases import write_study

RULE = """
[[rule]]
name = "{name}"
pipeline = "example"
destinations = ["pacs"]
{extra}
[rule.inputs.t1]
Modality = "MR"
"""


@dataclass
class Hands:
    """Stands where the worker processes are: takes jobs, and ends them when a test says so."""

    free: int = 1
    taken: dict[int, Order] = field(default_factory=dict)
    over: list[Ended] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    trouble: Exception | None = None

    def free_slots(self) -> int:
        return max(0, self.free - len(self.taken))

    def submit(self, job_id: int, step: Callable[..., Any], number: int, order: Order) -> None:
        assert step is run_order
        assert number == job_id
        if self.trouble is not None:
            raise self.trouble
        self.taken[job_id] = order

    def running(self) -> set[int]:
        return set(self.taken)

    def cancel(self, job_id: int) -> None:
        if self.taken.pop(job_id, None):
            self.stopped.append(job_id)

    def said(self, job_id: int) -> tuple[str, ...]:
        return (f"line of J{job_id}",)

    def end(
        self, job: Job, *, value: Answer | None = None, failure: Failure | None = None, said: tuple[str, ...] = ()
    ) -> None:
        del self.taken[job.id]
        self.over.append(Ended(job.id, value, failure, said))

    def collect(self) -> list[Ended]:
        over, self.over = self.over, []
        return over


@dataclass
class Journey:
    """A flow with everything that it acts on."""

    flow: Flow
    ledger: Ledger
    hands: Hands
    rules: list[str]
    clock: Clock
    counts: Counts

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, now: float) -> None:
        self.clock.now = now

    def job(self) -> Job:
        return self.ledger.jobs.latest(1)[0]

    def arrive(self, folder: Path, association: Association = SCANNER) -> None:
        """Receive a folder now."""
        arrive(self.ledger, *one_study(folder).instances.values(), at=self.now, association=association)

    def done(self, job: Job) -> None:
        """End a job that a worker has, with a segmentation and a report."""
        self.hands.end(job, value=Answer(made=made(job.study_instance_uid)))
        self.flow.collect()

    def tick(self, after: float = 0.0) -> None:
        """Let so many seconds pass, and each stage look once."""
        self.now += after
        self.flow.read_headers()
        self.flow.close_quiet()
        self.flow.route()
        self.flow.run()
        self.flow.collect()


def new_journey(tmp_path: Path, ledger: Ledger) -> Journey:
    """Return a flow whose rule wants every MR series."""
    settings = Settings(
        compute=ComputeSettings(attempts=2, retry_wait_seconds=10),
        destinations=(DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104),),
        pipelines={"example": {"factor": 1, "for_all": True}},
    )
    hands, rules = Hands(), [RULE.format(name="rule", extra="[rule.settings]\nfactor = 2")]

    def parsed() -> Rules:
        text = "".join(rules)
        return Rules(parse_rules(text, "rules.toml", {"example": ("t1",)}, {"pacs", "archive"}), text, version=7)

    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    clock = Clock()
    counts = Counts()
    flow = Flow(settings, ledger, store, hands, parsed, clock, counts=counts)  # type: ignore[arg-type]
    return Journey(flow, ledger, hands, rules, clock, counts)


def receive(journey: Journey, folder: Path, association: Association = SCANNER) -> str:
    """Receive a study of three slices; return its Study Instance UID."""
    study = write_study(folder, slices=3)
    journey.arrive(folder, association)
    return study


def sender(name: str, at: float = NOW) -> Association:
    """Return another association of the scanner, which began at a time."""
    return replace(SCANNER, id=name, opened_at=at)


def started(journey: Journey, folder: Path) -> Job:
    """Receive a study and bring its job to a worker."""
    receive(journey, folder)
    journey.tick(after=31)
    job = journey.job()
    assert job.state is JobState.RUNNING
    return job
