"""What the gate looks at in a report: the form that viewers know, references that resolve, words that they show."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.results.gate_case import Case, Check, items, other_than
from dicom_node.results.gate_content import children, code_of, described, groups_of, template_of, walk
from dicom_node.results.gate_measurements import MEASUREMENT_CHECKS
from dicom_node.results.source_images import is_multiframe
from dicom_node.settings import ResultKind

#: Of a segment, and of a sentence.
_SOURCE_SERIES: Final = ("121232", "112002")
_CONCLUSIONS: Final = "55110-1"
_CONCLUSION: Final = "121077"
_WORDS: Final = "2000"
#: Template to title. Viewers look for measurements in every report with the first title, and fail without any.
_TITLES: Final[Mapping[str, str]] = {"1500": "126000", _WORDS: "18748-4"}
#: In a report in words, that would be something to be drawn.
_DRAWN: Final = frozenset({"NUM", "SCOORD", "SCOORD3D", "IMAGE"})
#: These point at a report, or repeat it: it rests on none of them.
_NO_EVIDENCE: Final = frozenset({ResultKind.DOCUMENT, ResultKind.KEY_OBJECTS, ResultKind.PRESENTATION_STATE})


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.17.2: a finished document that nobody has verified yet; PS3.16 TID 1500 with a group, or TID 2000."""
    wanted = {
        "SOPClassUID": Comprehensive3DSRStorage,
        "ValueType": "CONTAINER",
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "UNVERIFIED",
        "PreliminaryFlag": "PRELIMINARY",
    }
    yield from other_than(case.dataset, wanted)
    template = template_of(case.dataset)
    if template not in _TITLES:
        yield f"the root is by none of the templates {', '.join(_TITLES)}"
    elif code_of(case.dataset) != _TITLES[template]:
        yield f"the title is not that of a report by template {template}"
    if template != _WORDS and not groups_of(case.dataset):
        yield "it is a report of measurements without a measurement group"


def _references(case: Case) -> Iterator[str]:
    """Every reference leads to a source image or to an object of the same build, and is listed as evidence."""
    results = {built.sop_instance_uid: built.dataset for built in case.objects if built.kind not in _NO_EVIDENCE}
    targets = case.source_images() | results
    evidence = _named(case.dataset, "CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
    for item in walk(case.dataset):
        for reference in items(item, "ReferencedSOPSequence"):
            target = targets.get(str(reference.ReferencedSOPInstanceUID))
            if target is None or target is case.dataset:
                yield f"a reference leads nowhere ({reference.ReferencedSOPInstanceUID})"
                continue
            yield from _resolves(reference, target)
            if str(reference.ReferencedSOPInstanceUID) not in evidence:
                yield f"{reference.ReferencedSOPInstanceUID} is referred to, but not listed as evidence"
    if unknown := set(evidence) - (targets.keys() - {case.built.sop_instance_uid}):
        yield f"{len(unknown)} objects listed as evidence are unknown"
    for uid in evidence.keys() & targets.keys():
        if evidence[uid] != targets[uid].SOPClassUID:
            yield f"{uid} is listed as evidence with another SOP class"


def _named(dataset: Dataset, *keywords: str) -> dict[str, str]:
    """Return SOP Instance UID to SOP Class UID of everything in a hierarchy of references (PS3.3 Table C.17-3)."""
    return {
        str(reference.ReferencedSOPInstanceUID): str(reference.ReferencedSOPClassUID)
        for keyword in keywords
        for study in items(dataset, keyword)
        for series in items(study, "ReferencedSeriesSequence")
        for reference in items(series, "ReferencedSOPSequence")
    }


def _resolves(reference: Dataset, target: Dataset) -> Iterator[str]:
    uid = reference.ReferencedSOPInstanceUID
    if reference.ReferencedSOPClassUID != target.SOPClassUID:
        yield f"{uid} is referred to with another SOP class"
    if "SegmentSequence" in target:
        numbers = {int(item.SegmentNumber) for item in described(target)}
        named = reference.get("ReferencedSegmentNumber")
        if named is None or int(named) not in numbers:
            yield f"a segment of {uid} is referred to that it does not have"
    elif is_multiframe(target):
        frame = reference.get("ReferencedFrameNumber")
        if frame is None or not 1 <= int(frame) <= int(target.NumberOfFrames):
            yield f"a frame of {uid} is referred to that it does not have"


def _source_series(case: Case) -> Iterator[str]:
    known = {str(image.SeriesInstanceUID) for image in case.source_images().values()}
    for item in walk(case.dataset):
        if code_of(item) in _SOURCE_SERIES and str(item.UID) not in known:
            yield "the source series of a segment, group or sentence is not one of the sources"


def _words(case: Case) -> Iterator[str]:
    """A report in words is read, not drawn: a sentence at least, where it is looked for, and no measurement."""
    if template_of(case.dataset) != _WORDS:
        return
    headings = [item for item in children(case.dataset) if code_of(item) == _CONCLUSIONS]
    sentences = [item for each in headings for item in children(each) if code_of(item) == _CONCLUSION]
    if not sentences:
        yield "it says not a word"
    for number, item in enumerate(sentences, 1):
        if item.ValueType != "TEXT" or not str(item.get("TextValue") or "").strip():
            yield f"sentence {number} is empty"
        if not any(code_of(child) in _SOURCE_SERIES for child in children(item)):
            yield f"sentence {number} does not say which series it is about"
    if groups_of(case.dataset) or any(item.ValueType in _DRAWN for item in walk(case.dataset)):
        yield "it is a report in words, but holds a measurement"


def _predecessor(case: Case) -> Iterator[str]:
    """PS3.3 C.17.2: one earlier report of the same study, and a sentence for the reader that it holds no more."""
    if "PredecessorDocumentsSequence" not in case.dataset:
        return
    studies = items(case.dataset, "PredecessorDocumentsSequence")
    named = _named(case.dataset, "PredecessorDocumentsSequence")
    if len(named) != 1 or [str(study.StudyInstanceUID) for study in studies] != [str(case.dataset.StudyInstanceUID)]:
        yield "it takes the place of something else than one report of its study"
    known = case.source_images().keys() | {built.sop_instance_uid for built in case.objects}
    said = "\n".join(str(item.TextValue) for item in walk(case.dataset) if item.ValueType == "TEXT")
    for uid, sop_class_uid in named.items():
        if sop_class_uid != Comprehensive3DSRStorage or uid in known:
            yield "it takes the place of what is no earlier report"
        if uid not in said:
            yield "it does not say in words which report it takes the place of"


REPORT_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "references": _references,
    "source series": _source_series,
    "words": _words,
    "predecessor": _predecessor,
    **MEASUREMENT_CHECKS,
}
