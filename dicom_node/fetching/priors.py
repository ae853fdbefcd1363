"""The priors of one job: found by patient, chosen by the rule, fetched, looked at, and given to the job's roles."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from dicom_node import routing
from dicom_node.entities import InstanceRef, StudyFacts
from dicom_node.errors import CannotUnderstand, Failure
from dicom_node.fetching.outcome import Outcome
from dicom_node.fetching.pulling import Pulled, Puller
from dicom_node.ledger import Fetch, Job, Received
from dicom_node.lifecycle import JobState
from dicom_node.retrieving import Archive, Contents, only_one_value
from dicom_node.settings import Archive as ArchiveSettings

log = structlog.get_logger(__name__)

#: Studies of which the archive does not say enough, and that are of no use when they came, for each that is wanted.
_TRIED_FOR_EACH: Final = 3
_DISAGREES: Final = "without a series that agrees"
_NONE_THERE: Final = "the archive has no earlier study of this patient that the rule wants"


@dataclass(slots=True)
class _Search:
    """What came of looking for priors: those that may be used, newest first, and why others were left out."""

    found: list[StudyFacts] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    wanted: int = 0
    came: int = 0
    ways: dict[str, None] = field(default_factory=dict)
    broke: Failure | None = None

    def pulled(self, pulled: Pulled, attempts: int) -> None:
        """Add what one study brought."""
        self.wanted, self.came = self.wanted + pulled.wanted, self.came + pulled.came
        self.ways |= {pulled.how: None} if pulled.how else {}
        self.broke = self.broke or pulled.lack(attempts)

    def __str__(self) -> str:
        said = str(self.broke) if self.broke else str(Pulled(self.wanted, self.came, ", ".join(self.ways)))
        words = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        studies = ", ".join(each.study_instance_uid for each in self.found)
        if not self.found and self.broke is None:
            said = _NONE_THERE
        return "; ".join(
            filter(None, [said, studies and f"earlier studies {studies}", words and f"left out: {words}"])
        )


def fetch_priors(puller: Puller, fetch: Fetch) -> Outcome:
    """Fetch the priors that a job waits for.

    Raises
    ------
    Failure
        If the archive cannot be asked.
    """
    job = puller.ledger.jobs.get(fetch.job_id)
    if job is None or job.state is not JobState.QUEUED:
        return Outcome("nobody waits for them any more")
    (rule,) = routing.parse_rules(fetch.wanted, "priors").rules
    if rule.priors is None:
        return Outcome("the rule asks for none")
    present = _present(puller, fetch, job, rule.priors)
    if isinstance(present, str):
        return Outcome(f"none can be found: {present}")
    return _Priors(puller, fetch, rule.priors, present).fetched()


def _present(puller: Puller, fetch: Fetch, job: Job, priors: routing.Priors) -> routing.Present | str:
    received = puller.ledger.studies.received(fetch.study_instance_uid, fetch.revision) or []
    facts = routing.gather(fetch.study_instance_uid, [_header(each) for each in received])
    paths = [path for some in job.inputs.values() for path in some]
    present = routing.present_of(facts, paths, priors)
    if isinstance(present, str) or only_one_value({"PatientID": present.patient_id}):
        return present
    return "the Patient ID has a character that archives take for any"


def _header(received: Received) -> routing.ReceivedHeader:
    header = routing.header_from_json(received.header)
    return routing.ReceivedHeader(received.ref, header, received.calling, received.called, received.address)


@dataclass(frozen=True, slots=True)
class _Priors:
    """The priors of one study."""

    puller: Puller
    fetch: Fetch
    wanted: routing.Priors
    present: routing.Present

    def fetched(self) -> Outcome:
        """Bring them, newest first, until there are as many as the rule wants; say which series fills which role."""
        settings, archive = self.puller.archive(self.fetch.archive)
        choice = routing.earlier_studies(
            self.present, self.wanted, archive.studies({"PatientID": self.present.patient_id})
        )
        search = _Search(left_out=Counter(choice.left_out))
        for study in choice.studies[: self.wanted.at_most * _TRIED_FOR_EACH]:
            if len(search.found) == self.wanted.at_most or search.broke is not None:
                break
            self._try(settings, archive, study, search)
        inputs = {role: series.paths for role, series in routing.filled(self.wanted, search.found).items()}
        roles = [f"input {role!r} has {len(paths)} instances" for role, paths in inputs.items()]
        roles += [f"no series fits input {role!r}" for role in self.wanted.inputs if role not in inputs]
        return Outcome("; ".join([str(search), *roles]), inputs, search.broke)

    def _try(self, settings: ArchiveSettings, archive: Archive, study: str, search: _Search) -> None:
        """Bring one study, and take it if it is whole, the right patient's, and agrees."""
        series = routing.agreeing_series(self.present, archive.series(study, self.wanted.same))
        contents = archive.contents(study, series) if series else {}
        if not any(contents.values()):
            search.left_out[_DISAGREES] += 1
            return
        try:
            search.pulled(self._pulled((settings, archive), study, contents), self.fetch.attempts)
        except Failure as failure:
            search.broke = failure
        uids = [uid for images in contents.values() for uid in images]
        facts = self._looked_at(study, self.puller.ledger.fetches.held(study, uids), len(uids))
        if isinstance(facts, str):
            search.left_out[facts] += 1
        else:
            search.found.append(facts)

    def _pulled(self, archive: tuple[ArchiveSettings, Archive], study: str, contents: Contents) -> Pulled:
        puller, fetch, settings = self.puller, self.fetch, archive[0]
        lacking = puller.lacking(contents)
        if not lacking:
            return Pulled(0, 0, "")
        calling = settings.sends_as or settings.ae_title or ""
        puller.ledger.fetches.name_priors(fetch, [study], calling, puller.clock())
        until = time.monotonic() + fetch.give_up_at - puller.clock()
        return puller.pull(archive, {study: contents}, {study: lacking}, until, priors=True)

    def _looked_at(self, study: str, refs: Sequence[InstanceRef], count: int) -> StudyFacts | str:
        """Return what is known of a prior that is here, or why it is not used."""
        if len(refs) < count:
            return "not here in full"
        try:
            headers = [self._read(ref) for ref in refs]
        except (CannotUnderstand, OSError):
            return "that cannot be read"
        if not all(routing.same_patient(self.present, *_patient(each)) for each in headers):
            log.warning("prior of another patient is not used", study=self.present.study_instance_uid)
            return "of another patient, by its own headers"
        facts = routing.series_that_agree(self.present, routing.gather(study, headers))
        return facts if facts.series else _DISAGREES

    def _read(self, ref: InstanceRef) -> routing.ReceivedHeader:
        header = routing.read_header(self.puller.store.path_of(ref.path))
        return routing.ReceivedHeader(ref, header, "", "", "")


def _patient(received: routing.ReceivedHeader) -> tuple[str, str]:
    patient, issuer = (received.header.get(keyword, ()) for keyword in ("PatientID", "IssuerOfPatientID"))
    return " ".join(map(str, patient)).strip(), " ".join(map(str, issuer)).strip()
