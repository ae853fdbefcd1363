"""The document around a report's content: complete, unverified, its evidence, and what it takes the place of."""

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.contract import Algorithm
from dicom_node.results.objects import BuiltObject, Making, Predecessor, RunContext
from dicom_node.results.provenance import new_object, series_description, series_number
from dicom_node.results.source_images import image_reference
from dicom_node.settings import ResultKind

#: What a report rests on, or shows; what merely points at images or repeats the report is none of its evidence.
_EVIDENCE_KINDS: Final = (
    ResultKind.SEGMENTATION,
    ResultKind.PARAMETRIC_MAP,
    ResultKind.PICTURE,
    ResultKind.IMAGES,
)


def new_report(
    image: Dataset, evidence: Iterable[Dataset], run: RunContext, algorithm: Algorithm, taken: frozenset[int]
) -> Dataset:
    """Return a Comprehensive 3D SR without content (PS3.3 A.35.13, C.17.1, C.17.2).

    Parameters
    ----------
    image : Dataset
        Any image of the series that the report is filed with.
    evidence : iterable of Dataset
        Everything that the report rests on; it may be of several studies.
    """
    dataset = new_object(ResultKind.REPORT, Comprehensive3DSRStorage, image, run, algorithm)
    dataset.SeriesNumber = series_number(ResultKind.REPORT, run, taken)
    dataset.SeriesDescription = series_description(ResultKind.REPORT, run, algorithm, dataset)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    _add_evidence(dataset, list(evidence))
    if run.predecessor is not None:
        dataset.PredecessorDocumentsSequence = [_document(run.predecessor)]
    return dataset


def evidence_of(making: Making) -> list[Dataset]:
    """Return every source image of every role, and the results that were built before and show what was found."""
    return [*making.images, *(each.dataset for each in shown(making))]


def shown(making: Making) -> tuple[BuiltObject, ...]:
    """Return the results that were built before and show what was found."""
    return tuple(each for each in making.built if each.kind in _EVIDENCE_KINDS)


def _add_evidence(dataset: Dataset, evidence: list[Dataset]) -> None:
    current = [item for item in evidence if item.StudyInstanceUID == dataset.StudyInstanceUID]
    other = [item for item in evidence if item.StudyInstanceUID != dataset.StudyInstanceUID]
    dataset.CurrentRequestedProcedureEvidenceSequence = hierarchy(current)
    if other:
        dataset.PertinentOtherEvidenceSequence = hierarchy(other)


def hierarchy(evidence: Iterable[Dataset]) -> list[Dataset]:
    """Return Hierarchical SOP Instance Reference items (PS3.3 Table C.17-3)."""
    ordered = sorted(evidence, key=lambda item: (str(item.StudyInstanceUID), str(item.SeriesInstanceUID)))
    studies = []
    for study_uid, of_study in groupby(ordered, key=lambda item: str(item.StudyInstanceUID)):
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, of_series in groupby(of_study, key=lambda item: str(item.SeriesInstanceUID)):
            study.ReferencedSeriesSequence.append(_series(series_uid, [image_reference(item) for item in of_series]))
        studies.append(study)
    return studies


def _document(predecessor: Predecessor) -> Dataset:
    document, study = Dataset(), Dataset()
    document.ReferencedSOPClassUID = predecessor.sop_class_uid
    document.ReferencedSOPInstanceUID = predecessor.sop_instance_uid
    study.StudyInstanceUID = predecessor.study_instance_uid
    study.ReferencedSeriesSequence = [_series(predecessor.series_instance_uid, [document])]
    return study


def _series(series_instance_uid: str, references: list[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_instance_uid
    series.ReferencedSOPSequence = references
    return series
