"""What the gate looks at in a key object selection: that every flag leads to one slice, and says why."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_node.results.gate_case import Case, Check, items, other_than
from dicom_node.results.gate_content import code_of
from dicom_node.results.gate_references import astray, references, slice_finder

_TITLE: Final = "113000"
_DESCRIPTION: Final = "113012"
_EVIDENCE: Final = "CurrentRequestedProcedureEvidenceSequence"


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.17.6.2, PS3.16 TID 2010: a selection of what is of interest."""
    wanted = {"SOPClassUID": KeyObjectSelectionDocumentStorage, "ValueType": "CONTAINER"}
    yield from other_than(case.dataset, wanted)
    if [item.TemplateIdentifier for item in items(case.dataset, "ContentTemplateSequence")] != ["2010"]:
        yield "the root is not by template 2010"
    if code_of(case.dataset) != _TITLE:
        yield "the title is not Of Interest"


def _words(case: Case) -> Iterator[str]:
    said = [item for item in items(case.dataset, "ContentSequence") if code_of(item) == _DESCRIPTION]
    if len(said) != 1 or not str(said[0].get("TextValue") or "").strip():
        yield "there is not one Key Object Description"


def _references(case: Case) -> Iterator[str]:
    """Everything selected is listed as evidence, and nothing else is."""
    yield from astray(case, "ContentSequence", _EVIDENCE)
    selected = {str(item.ReferencedSOPInstanceUID) for item in references(case.dataset, "ContentSequence")}
    evidence = {str(item.ReferencedSOPInstanceUID) for item in references(case.dataset, _EVIDENCE)}
    if selected != evidence:
        yield "what is selected is not what is listed as evidence"
    for study in items(case.dataset, _EVIDENCE):
        if study.StudyInstanceUID != case.dataset.StudyInstanceUID:
            yield "it selects from another study"


def _slices(case: Case) -> Iterator[str]:
    """Every source image that is selected stands for one slice; there is one at least."""
    images, slices = case.source_images(), slice_finder(case)
    of_source = [
        item for item in references(case.dataset, "ContentSequence") if str(item.ReferencedSOPInstanceUID) in images
    ]
    if not of_source:
        yield "it selects no source image"
    for item in of_source:
        if len(slices(item)) != 1:
            yield f"{item.ReferencedSOPInstanceUID} is selected, but not as one slice"


KEY_OBJECT_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "words": _words,
    "references": _references,
    "slices": _slices,
}
