"""The gate: every check that an object passes before it may be stored and sent.

It reads the finished objects against the source images, and shares nothing with the code that built them but the
place where a source says where its planes lie. A refusal names the attribute that is wrong, never its value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.tag import BaseTag
from pydicom.uid import RE_VALID_UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node import MANUFACTURER
from dicom_node.contract import Findings
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results.gate_case import Case, Check, images_by_uid, items
from dicom_node.results.gate_document import DOCUMENT_CHECKS
from dicom_node.results.gate_images import IMAGES_CHECKS
from dicom_node.results.gate_key_objects import KEY_OBJECT_CHECKS
from dicom_node.results.gate_notice import NOTICE_PICTURE_CHECKS
from dicom_node.results.gate_parametric_map import PARAMETRIC_MAP_CHECKS
from dicom_node.results.gate_picture import PICTURE_CHECKS
from dicom_node.results.gate_presentation_state import PRESENTATION_STATE_CHECKS
from dicom_node.results.gate_report import REPORT_CHECKS
from dicom_node.results.gate_segmentation import SEGMENTATION_CHECKS
from dicom_node.results.gate_voxels import MAP_CHECKS, MASK_CHECKS
from dicom_node.results.objects import BuiltObject
from dicom_node.results.provenance import IDENTITY_OPTIONAL, IDENTITY_TYPE_2, MODALITIES
from dicom_node.settings import ResultKind

_UID_LENGTH: Final = 64
_CHARACTER_SET: Final = BaseTag(0x00080005)
#: Kinds of which a series may hold several instances.
_SEVERAL_IN_A_SERIES: Final = frozenset({ResultKind.PICTURE, ResultKind.IMAGES})
Checks = Mapping[ResultKind, Mapping[str, Check]]
#: Where an object says in which series of which study it has its evidence.
_EVIDENCE: Final = ("CurrentRequestedProcedureEvidenceSequence", "SourceImageEvidenceSequence")
#: Where an object names the images that it was made of.
_SOURCE_IMAGES: Final = ("SourceImageSequence", "SourceInstanceSequence")
_UTF_8: Final = "ISO_IR 192"
#: Every image of every role must agree on these: they say which patient it is.
_PATIENT: Final = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def check(
    objects: Sequence[BuiltObject], sources: Mapping[str, SourceSeries], findings: Findings | None = None
) -> None:
    """Return if every object may leave.

    Parameters
    ----------
    objects : sequence of BuiltObject
        All objects of one build: they refer to one another.
    sources : mapping of role to SourceSeries
        Everything that they were made from.
    findings : Findings or None
        What they are to show: masks and maps are compared voxel by voxel.

    Raises
    ------
    WrongObject
        With every reason, if one of them could show the wrong thing on the wrong patient or slice.
    """
    _pass(objects, sources, CHECKS, findings)


def check_notice(objects: Sequence[BuiltObject], sources: Mapping[str, SourceSeries]) -> None:
    """Return if a notice that there is no result may leave.

    Parameters
    ----------
    sources : mapping of role to SourceSeries
        What the notice is about; volumes are not looked at, because there may be none.

    Raises
    ------
    WrongObject
        With every reason, if it could reach the wrong patient, or be taken for a result.
    """
    _pass(objects, sources, NOTICE_CHECKS)


def _pass(
    objects: Sequence[BuiltObject],
    sources: Mapping[str, SourceSeries],
    checks: Checks,
    findings: Findings | None = None,
) -> None:
    reasons = [
        *_one_patient(sources),
        *chain.from_iterable(_refusals(case, checks) for case in _cases(objects, sources, findings)),
    ]
    if not objects:
        reasons.append("nothing was built")
    if reasons:
        raise WrongObject(f"results refused before sending: {'; '.join(reasons)}")


def _cases(
    objects: Sequence[BuiltObject], sources: Mapping[str, SourceSeries], findings: Findings | None
) -> Iterator[Case | BuiltObject]:
    """Yield each object with everything that its checks look at; alone, if it has no source here."""
    images = images_by_uid(sources)
    series = [built.series_instance_uid for built in objects]
    instances = [built.sop_instance_uid for built in objects]
    for built in objects:
        source = _source_of(built, sources, images)
        yield Case(built, source, objects, sources, images, series, instances, findings) if source else built


def _refusals(case: Case | BuiltObject, checks: Checks) -> Iterator[str]:
    if isinstance(case, BuiltObject):
        yield f"{case.kind}: refers to no series that it was made from"
        return
    for name, look in checks[case.built.kind].items():
        yield from (f"{case.built.kind}, {name}: {reason}" for reason in _run(look, case))


def _run(look: Check, case: Case) -> list[str]:
    """Return the reasons of one check; an object that a check cannot even read is refused too."""
    try:
        return list(look(case))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [f"cannot be read ({type(error).__name__})"]


def _source_of(
    built: BuiltObject, sources: Mapping[str, SourceSeries], images: dict[str, Dataset]
) -> SourceSeries | None:
    """Return the source series that an object refers to: by reference, by its evidence, or by its source images.

    A report may refer to several series of its study, whose headers need not agree in everything: its own is the one
    that it was copied from, so the one from which it differs least.
    """
    series = [item.get("SeriesInstanceUID") for item in items(built.dataset, "ReferencedSeriesSequence")]
    for keyword in _EVIDENCE:
        for study in items(built.dataset, keyword):
            series += [item.get("SeriesInstanceUID") for item in items(study, "ReferencedSeriesSequence")]
    for keyword in _SOURCE_IMAGES:
        for item in items(built.dataset, keyword):
            if image := images.get(str(item.get("ReferencedSOPInstanceUID"))):
                series.append(image.SeriesInstanceUID)
    named = [each for each in sources.values() if each.datasets[0].SeriesInstanceUID in series]
    if len(named) == 1:
        return named[0]
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
    """Return True if two data sets differ in an attribute, as it reads; empty and absent are the same."""
    return _as_read(one.get(keyword) or None) != _as_read(other.get(keyword) or None)


def _as_read(value: Any) -> Any:
    """Return a value without the character sets that items were written in: their decoded texts are what counts."""
    if not isinstance(value, DicomSequence):
        return value
    return [
        {element.tag: _as_read(element.value) for element in item if element.tag != _CHARACTER_SET} for item in value
    ]


def _differences(dataset: Dataset, image: Dataset) -> list[str]:
    return [keyword for keyword in (*IDENTITY_TYPE_2, *IDENTITY_OPTIONAL) if _differs(dataset, image, keyword)]


def _identity(case: Case) -> Iterator[str]:
    for keyword in _differences(case.dataset, case.source.datasets[0]):
        yield f"{keyword} is not that of the source"


def _character_set(case: Case) -> Iterator[str]:
    """PS3.3 C.12.1.1.2: texts are in the character set of the source, or all of them in UTF-8."""
    if not _differs(case.dataset, case.source.datasets[0], "SpecificCharacterSet"):
        return
    if case.dataset.get("SpecificCharacterSet") == _UTF_8:
        for keyword in (*IDENTITY_TYPE_2, *IDENTITY_OPTIONAL):
            if any("SpecificCharacterSet" in item for item in _items_below(case.dataset.get(keyword))):
                yield f"an item of {keyword} has a character set of its own, and is not in {_UTF_8}"
    else:
        yield f"SpecificCharacterSet is neither that of the source nor {_UTF_8}"


def _items_below(value: Any) -> Iterator[Dataset]:
    if isinstance(value, DicomSequence):
        for item in value:
            yield item
            yield from chain.from_iterable(_items_below(element.value) for element in item)


def _encoding(case: Case) -> Iterator[str]:
    meta = case.dataset.file_meta
    if meta.TransferSyntaxUID not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        yield f"the transfer syntax is {meta.TransferSyntaxUID}, not Explicit or Implicit VR Little Endian"
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
    if case.instances.count(instance) != 1:
        yield "SOPInstanceUID is that of another result"


def _own_series(case: Case) -> Iterator[str]:
    """Viewers show only the last SEG or SR of a series: each result has one of its own; pictures and images share."""
    series = case.built.series_instance_uid
    if series in {str(source.datasets[0].SeriesInstanceUID) for source in case.sources.values()}:
        yield "SeriesInstanceUID is that of a source series"
    together = [other for other, uid in zip(case.objects, case.series, strict=True) if uid == series]
    mates = {(other.kind, other.series) for other in together}
    if len(mates) != 1 or (len(together) != 1 and case.built.kind not in _SEVERAL_IN_A_SERIES):
        yield "SeriesInstanceUID is that of another result"
    yield from _series_number(case, series)
    modality = MODALITIES.get(case.built.kind) or case.source.datasets[0].Modality
    if case.dataset.Modality != modality:
        yield f"Modality is not {modality}"


def _series_number(case: Case, series: str) -> Iterator[str]:
    """Some PACS tell the series of a study apart by number, and merge those that have the same."""
    number = case.dataset.get("SeriesNumber")
    if number is None:
        yield "SeriesNumber is empty"
        return
    if number in {image.get("SeriesNumber") for image in case.source_images().values()}:
        yield "SeriesNumber is that of a source series"
    others = (each for each, uid in zip(case.objects, case.series, strict=True) if uid != series)
    if number in {other.dataset.get("SeriesNumber") for other in others}:
        yield "SeriesNumber is that of another result"


COMMON_CHECKS: Final[Mapping[str, Check]] = {
    "patient and study": _identity,
    "character set": _character_set,
    "encoding": _encoding,
    "maker": _maker,
    "UIDs": _uids,
    "own series": _own_series,
}
CHECKS: Final[Checks] = {
    ResultKind.SEGMENTATION: {**COMMON_CHECKS, **SEGMENTATION_CHECKS, **MASK_CHECKS},
    ResultKind.PARAMETRIC_MAP: {**COMMON_CHECKS, **PARAMETRIC_MAP_CHECKS, **MAP_CHECKS},
    ResultKind.IMAGES: {**COMMON_CHECKS, **IMAGES_CHECKS},
    ResultKind.PICTURE: {**COMMON_CHECKS, **PICTURE_CHECKS},
    ResultKind.REPORT: {**COMMON_CHECKS, **REPORT_CHECKS},
    ResultKind.DOCUMENT: {**COMMON_CHECKS, **DOCUMENT_CHECKS},
    ResultKind.KEY_OBJECTS: {**COMMON_CHECKS, **KEY_OBJECT_CHECKS},
    ResultKind.PRESENTATION_STATE: {**COMMON_CHECKS, **PRESENTATION_STATE_CHECKS},
}
NOTICE_CHECKS: Final[Checks] = {
    ResultKind.REPORT: CHECKS[ResultKind.REPORT],
    ResultKind.PICTURE: {**COMMON_CHECKS, **NOTICE_PICTURE_CHECKS},
}
