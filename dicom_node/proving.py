"""Is what was delivered still there, and is a study there the right patient's: questions, and what answers mean.

It holds nothing: values in, values out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from pydicom import dcmread

from dicom_node.commitment import Reference, Report, Request
from dicom_node.errors import PeerRefused, ServiceNotOffered
from dicom_node.ledger import Delivery
from dicom_node.settings import Confirmation

#: Requests for commitment without a report; then a query is tried, where that is allowed.
_UNANSWERED_REQUESTS: Final = 3
#: Queries that do not find an object; some archives show it only after a while.
_UNFOUND: Final = 4
#: What says whose study it is, shown to a person who is to compare.
IDENTITY: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)
#: In these two archives must agree, where both have a value; names are spelled in more than one way.
_DECIDING: Final = ("PatientID", "IssuerOfPatientID", "PatientBirthDate")


@dataclass(frozen=True, slots=True)
class Proof:
    """What asking about some deliveries brought.

    Parameters
    ----------
    how : str
        Who showed what is confirmed.
    missing : mapping
        What the destination does not have, and why.
    open : mapping
        Of what it is still unknown, and why: ask again.
    unprovable : str
        Why nothing can be asked at all; empty, if it can.
    """

    confirmed: tuple[Delivery, ...] = ()
    how: str = ""
    missing: Mapping[Delivery, str] = field(default_factory=dict)
    open: Mapping[Delivery, str] = field(default_factory=dict)
    unprovable: str = ""


class Archive(Protocol):
    """One destination that can be asked; `str()` of it is the address of who answers queries.

    Each method raises ServiceNotOffered if the destination does not provide that, and Failure if it does not answer
    or refuses.
    """

    @property
    def service_name(self) -> str:
        """What the queries are."""
        ...

    def request_commitment(
        self, request: Request, wait_seconds: float, told: Callable[[Report], None]
    ) -> Report | None:
        """Ask for commitment; return the report if it comes within so many seconds. `told` takes others that come."""
        ...

    def find_studies(
        self, study_instance_uids: Iterable[str], keywords: Iterable[str]
    ) -> dict[str, list[dict[str, str]]]:
        """Return how it has studies: for each, a mapping of keyword to text for each match."""
        ...

    def find_instances(self, study_instance_uid: str, wanted: Mapping[str, Sequence[str]]) -> frozenset[str]:
        """Return which of the SOP Instance UIDs, by Series Instance UID, it has."""
        ...


def prove(
    archive: Archive,
    way: Confirmation,
    due: Sequence[Delivery],
    transaction_uid: str,
    wait_seconds: float,
    told: Callable[[Report], None],
) -> Proof:
    """Ask a destination whether it has what it accepted.

    Parameters
    ----------
    transaction_uid : str
        For a request of commitment, never used before.
    wait_seconds : float
        How long the report is waited for on the association of the request.
    told : callable
        Takes reports on earlier requests that come on that association.

    Raises
    ------
    Failure
        If there is no answer.
    """
    tired = way is Confirmation.AUTO and any(each.proof_attempts > _UNANSWERED_REQUESTS for each in due)
    if way is not Confirmation.QUERY and not tired:
        try:
            return _by_commitment(archive, due, Request(transaction_uid, _references(due)), wait_seconds, told)
        except ServiceNotOffered as refusal:
            if way is Confirmation.COMMITMENT:
                return Proof(unprovable=str(refusal))
    try:
        return _by_query(archive, due)
    except ServiceNotOffered as refusal:
        return Proof(unprovable=str(refusal))


def _references(due: Sequence[Delivery]) -> tuple[Reference, ...]:
    return tuple(Reference(each.sop_class_uid, each.sop_instance_uid) for each in due)


def _by_commitment(
    archive: Archive,
    due: Sequence[Delivery],
    request: Request,
    wait_seconds: float,
    told: Callable[[Report], None],
) -> Proof:
    report = archive.request_commitment(request, wait_seconds, told)
    # without one the ledger knows until when it is waited for
    return Proof() if report is None else _judged(due, report)


def _judged(due: Sequence[Delivery], report: Report) -> Proof:
    committed = {reference.sop_instance_uid for reference in report.committed}
    failed = {reference.sop_instance_uid: reason for reference, reason in report.failed}
    missing = {
        each: f"storage commitment failed with reason 0x{int(failed[each.sop_instance_uid]):04X}"
        for each in due
        if each.sop_instance_uid in failed
    }
    confirmed = tuple(each for each in due if each.sop_instance_uid in committed and each not in missing)
    known = {*missing, *confirmed}
    unsaid = {each: "the storage commitment report leaves it out" for each in due if each not in known}
    return Proof(confirmed, "storage commitment", missing, open=unsaid)


def _by_query(archive: Archive, due: Sequence[Delivery]) -> Proof:
    found: set[str] = set()
    unknown: dict[Delivery, str] = {}
    for study, of_study in groupby(sorted(due, key=_study), key=_study):
        asked = tuple(of_study)
        wanted: dict[str, list[str]] = {}
        for each in asked:
            wanted.setdefault(each.series_instance_uid, []).append(each.sop_instance_uid)
        try:
            found |= archive.find_instances(study, wanted)
        except ServiceNotOffered:
            raise
        except PeerRefused as refusal:  # a question about one study that it cannot answer holds up no other
            unknown |= dict.fromkeys(asked, str(refusal))
    unfound = [each for each in due if each.sop_instance_uid not in found and each not in unknown]
    return Proof(
        tuple(each for each in due if each.sop_instance_uid in found and each not in unknown),
        f"found by {archive.service_name} at {archive}",
        {each: f"{archive} does not find it" for each in unfound if each.proof_attempts >= _UNFOUND},
        open=unknown | {each: "not shown there yet" for each in unfound if each.proof_attempts < _UNFOUND},
    )


def _study(delivery: Delivery) -> str:
    return delivery.study_instance_uid


def identity_in(path: Path) -> dict[str, str]:
    """Return whose a stored result is: the attributes of `IDENTITY`, empty where it has none; raises as pydicom."""
    dataset = dcmread(path, specific_tags=["SpecificCharacterSet", *IDENTITY], stop_before_pixels=True)
    return {keyword: str(dataset.get(keyword) or "") for keyword in IDENTITY}


def disagreement(ours: Mapping[str, str], theirs: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return in which attributes an archive has a study under another patient; none, if it is the same patient.

    Parameters
    ----------
    theirs : sequence of mapping
        Every match for the study; an archive that was given the study under two patients has two.
    """
    wrong = [tuple(key for key in _DECIDING if _differ(key, ours, match)) for match in theirs]
    return () if not wrong or () in wrong else wrong[0]


def _differ(keyword: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    one, other = ours.get(keyword, "").strip(), theirs.get(keyword, "").strip()
    if keyword == "PatientID":
        return one != other
    return bool(one and other) and one != other
