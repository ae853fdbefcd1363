"""A real ledger in a folder, or in the PostgreSQL that DICOM_NODE_TEST_DATABASE names, and rows to fill it with."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from sqlalchemy import create_engine, text

from dicom_node.entities import Arrival, Association, InstanceRef, SameUidPolicy, derived_uid
from dicom_node.ledger import Job, Ledger, NewJob, Result, Revision, open_ledger
from dicom_node.lifecycle import StudyState

STUDY: Final = "1.2.3"
NOW: Final = 1_800_000_000.0
SCANNER: Final = Association("a-1", "SCANNER", "NODE", "127.0.0.1", NOW)
_OTHER_DATABASE: Final = "DICOM_NODE_TEST_DATABASE"


@dataclass
class Clock:
    """A clock that stands still until it is moved; UTC seconds."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@contextmanager
def fresh_ledger(folder: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    url = os.environ.get(_OTHER_DATABASE, "")
    if url:
        _wipe(url)
    ledger = open_ledger(url or f"sqlite:///{folder / 'ledger.sqlite'}")
    try:
        yield ledger
    finally:
        ledger.close()


def _wipe(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def image(number: int, *, study: str = STUDY, content: str = "a", own: bool = False) -> InstanceRef:
    """Return one received image; `content` stands for its bytes."""
    uid = f"{study}.1.{number}"
    path = f"instances/{uid}-{content}.dcm"
    series = f"{study}.1"
    return InstanceRef(uid, MRImageStorage, ExplicitVRLittleEndian, series, study, path, content * 64, 100, own)


def arrive(
    ledger: Ledger,
    *images: InstanceRef,
    at: float = NOW,
    association: Association = SCANNER,
    policy: SameUidPolicy = SameUidPolicy.KEEP_FIRST,
) -> list[Arrival]:
    """Note arrivals, one after the other."""
    return [ledger.arrivals.note_arrival(each, association, at, policy) for each in images]


def read_headers(ledger: Ledger, header: str = "{}") -> None:
    """Give every instance that has none a header."""
    unread = ledger.studies.unread(1000)
    if unread:
        ledger.studies.put_headers([(row_id, header) for row_id, _ in unread])


def complete(ledger: Ledger, study: str = STUDY, at: float = NOW) -> Revision:
    """Freeze the revision of a study that is being received, and return it."""
    (revision,) = (r for r in ledger.studies.in_state(StudyState.RECEIVING) if r.study_instance_uid == study)
    assert ledger.studies.close(revision, "quiet", at)
    return ledger.studies.revisions(study)[-1]


def new_job(rule: str = "rule", priority: int = 2, destinations: Sequence[str] = ("pacs",)) -> NewJob:
    """Return a job that a rule wants."""
    return NewJob(rule, "pipeline", {"t1": (image(1).path,)}, destinations, priority)


def queued(ledger: Ledger, *wanted: NewJob, study: str = STUDY, at: float = NOW) -> list[Job]:
    """Receive one image of a study, freeze it, and record the jobs that are wanted."""
    arrive(ledger, image(1, study=study), at=at, association=replace(SCANNER, id=f"a-{study}"))
    revision = complete(ledger, study, at)
    ids = ledger.studies.record_verdicts(revision, "[]", ("digest", 1), wanted or (new_job(),), at)
    return [job for each in ids if (job := ledger.jobs.get(each)) is not None]


def running(ledger: Ledger, owner: str = "node1", at: float = NOW) -> Job:
    """Claim the next job."""
    (job,) = ledger.jobs.claim(owner, at, at + 60, 1)
    return job


def held(ledger: Ledger, reason: str = "no") -> Job:
    """Claim the next job, and let it fail for good."""
    job = running(ledger)
    assert ledger.jobs.fail(job, reason, NOW, None)
    return job


def made(study: str = STUDY, name: str = "9") -> tuple[Result, Result]:
    """Return a SEG and an SR as a job makes them."""
    seg, sr = ((kind, derived_uid(f"{study} {name} {kind}")) for kind in ("SEG", "SR"))
    classes = {"SEG": SegmentationStorage, "SR": Comprehensive3DSRStorage}
    return tuple(  # type: ignore[return-value]
        Result(
            uid,
            kind,
            classes[kind],
            ExplicitVRLittleEndian,
            derived_uid(f"{uid} series"),
            study,
            f"results/{uid}.dcm",
            "f" * 64,
        )
        for kind, uid in (seg, sr)
    )


def finished(ledger: Ledger, *wanted: NewJob, study: str = STUDY, give_up_at: float = NOW + 86400) -> Job:
    """Bring a job to its end: a SEG and an SR wait for every destination."""
    queued(ledger, *wanted, study=study)
    job = running(ledger)
    assert ledger.jobs.finish(job, made(study), {"run": 1.0}, NOW, give_up_at)
    return job
