"""The gate: every check that an object passes before it may be stored and sent.

It reads the finished objects against the source images, and shares nothing with the code that built them but the
place where a source says where its planes lie. A refusal names the attribute that is wrong, never its value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from pydicom import Dataset
from pydicom.uid import RE_VALID_UID, ExplicitVRLittleEndian

from dicom_node import MANUFACTURER
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results.gate_case import Case, Check, items
from dicom_node.results.gate_report import REPORT_CHECKS
from dicom_node.results.gate_segmentation import SEGMENTATION_CHECKS
from dicom_node.results.objects import BuiltObject
from dicom_node.results.provenance import IDENTITY_OPTIONAL, IDENTITY_TYPE_2

_UID_LENGTH: Final = 64
#: Every image of every role must agree on these: they say which patient it is.
_PATIENT: Final = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def check(objects: Sequence[BuiltObject], sources: Mapping[str, SourceSeries]) -> None:
    """Return if every object may leave.

    Parameters
    ----------
    objects : sequence of BuiltObject
        All objects of one build: they refer to one another.
    sources : mapping of role to SourceSeries
        Everything that they were made from.

    Raises
    ------
    WrongObject
        With every reason, if one of them could show the wrong thing on the wrong patient or slice.
    """
    reasons = [*_one_patient(sources), *chain.from_iterable(_refusals(built, objects, sources) for built in objects)]
    if not objects:
        reasons.append("nothing was built")
    if reasons:
        raise WrongObject(f"results refused before sending: {'; '.join(reasons)}")


def _refusals(
    built: BuiltObject, objects: Sequence[BuiltObject], sources: Mapping[str, SourceSeries]
) -> Iterator[str]:
    source = _source_of(built, sources)
    if source is None:
        yield f"{built.kind}: refers to no series that it was made from"
        return
    case = Case(built, source, objects, sources)
    for name, look in CHECKS[built.kind].items():
        yield from (f"{built.kind}, {name}: {reason}" for reason in _run(look, case))


def _run(look: Check, case: Case) -> list[str]:
    """Return the reasons of one check; an object that a check cannot even read is refused too."""
    try:
        return list(look(case))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [f"cannot be read ({type(error).__name__})"]


def _source_of(built: BuiltObject, sources: Mapping[str, SourceSeries]) -> SourceSeries | None:
    """Return the source series that an object refers to: in a SEG by reference, in an SR by its evidence.

    A report may refer to several series of its study, whose headers need not agree in everything: its own is the one
    that it was copied from, so the one from which it differs least.
    """
    series = [item.get("SeriesInstanceUID") for item in items(built.dataset, "ReferencedSeriesSequence")]
    for study in items(built.dataset, "CurrentRequestedProcedureEvidenceSequence"):
        series += [item.get("SeriesInstanceUID") for item in items(study, "ReferencedSeriesSequence")]
    named = [each for each in sources.values() if each.datasets[0].SeriesInstanceUID in series]
    return min(named, key=lambda each: len(_differences(built.dataset, each.datasets[0])), default=None)


def _one_patient(sources: Mapping[str, SourceSeries]) -> Iterator[str]:
    images = [image for source in sources.values() for image in source.datasets]
    for keyword in _PATIENT:
        if any(_differs(images[0], image, keyword) for image in images[1:]):
            yield f"the source images disagree on {keyword}"
    for role, source in sources.items():
        if any(_differs(source.datasets[0], image, "StudyInstanceUID") for image in source.datasets[1:]):
            yield f"the images of {role} belong to several studies"


def _differs(one: Dataset, other: Dataset, keyword: str) -> bool:
    """Return True if two data sets differ in an attribute; empty and absent are the same."""
    return (one.get(keyword) or None) != (other.get(keyword) or None)


def _differences(dataset: Dataset, image: Dataset) -> list[str]:
    return [keyword for keyword in (*IDENTITY_TYPE_2, *IDENTITY_OPTIONAL) if _differs(dataset, image, keyword)]


def _identity(case: Case) -> Iterator[str]:
    for keyword in _differences(case.dataset, case.source.datasets[0]):
        yield f"{keyword} is not that of the source"


def _character_set(case: Case) -> Iterator[str]:
    if _differs(case.dataset, case.source.datasets[0], "SpecificCharacterSet"):
        yield "SpecificCharacterSet is not that of the source"


def _encoding(case: Case) -> Iterator[str]:
    meta = case.dataset.file_meta
    if meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        yield f"the transfer syntax is {meta.TransferSyntaxUID}, not Explicit VR Little Endian"
    if meta.MediaStorageSOPInstanceUID != case.dataset.SOPInstanceUID:
        yield "File Meta Information names another SOP Instance UID"
    if meta.MediaStorageSOPClassUID != case.dataset.SOPClassUID:
        yield "File Meta Information names another SOP Class UID"


def _maker(case: Case) -> Iterator[str]:
    if case.dataset.get("Manufacturer") != MANUFACTURER:
        yield f"Manufacturer is not {MANUFACTURER}: the node would process its own result"


def _uids(case: Case) -> Iterator[str]:
    """PS3.5 9.1; a result never takes a UID that something else has."""
    instance, series = case.built.sop_instance_uid, case.built.series_instance_uid
    for keyword, uid in (("SOPInstanceUID", instance), ("SeriesInstanceUID", series)):
        if len(uid) > _UID_LENGTH or not re.fullmatch(RE_VALID_UID, uid):
            yield f"{keyword} {uid!r} is not a UID"
    if instance in case.source_images():
        yield "SOPInstanceUID is that of a source image"
    if [other.sop_instance_uid for other in case.objects].count(instance) != 1:
        yield "SOPInstanceUID is that of another result"


def _own_series(case: Case) -> Iterator[str]:
    """Viewers show only the last SEG or SR of a series: each result has one of its own."""
    series = case.built.series_instance_uid
    source_series = [str(image.SeriesInstanceUID) for image in case.source_images().values()]
    if series in source_series:
        yield "SeriesInstanceUID is that of a source series"
    if [other.series_instance_uid for other in case.objects].count(series) != 1:
        yield "SeriesInstanceUID is that of another result"
    if case.dataset.Modality != case.built.kind:
        yield f"Modality is not {case.built.kind}"


COMMON_CHECKS: Final[Mapping[str, Check]] = {
    "patient and study": _identity,
    "character set": _character_set,
    "encoding": _encoding,
    "maker": _maker,
    "UIDs": _uids,
    "own series": _own_series,
}
CHECKS: Final[Mapping[str, Mapping[str, Check]]] = {
    "SEG": {**COMMON_CHECKS, **SEGMENTATION_CHECKS},
    "SR": {**COMMON_CHECKS, **REPORT_CHECKS},
}
