"""Key slices to a Key Object Selection Document (PS3.3 A.35.4) by TID 2010 (PS3.16): where to look first.

It also refers to the Segmentation and the pictures of the same run, so that one flag leads to all of them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_node.contract import KeySlice
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.provenance import new_object, series_description, series_number
from dicom_node.results.report_document import hierarchy
from dicom_node.results.report_parts import language, observer, text
from dicom_node.results.slice_view import key_slices
from dicom_node.results.source_images import image_reference, source_of
from dicom_node.results.statements import place_of
from dicom_node.results.words import words_of
from dicom_node.settings import ResultKind

#: CID 7010
_TITLE: Final = Code("113000", "DCM", "Of Interest")
_DESCRIPTION: Final = Code("113012", "DCM", "Key Object Description")
#: What is referred to beside the source images.
_RESULTS: Final = (ResultKind.SEGMENTATION, ResultKind.PICTURE)


def build_key_objects(making: Making) -> tuple[BuiltObject, ...]:
    """Return the selection; nothing, if there is no slice to look at."""
    slices = key_slices(making.findings, making.source)
    if not slices:
        return ()
    run, algorithm = making.run, making.findings.algorithm
    dataset = new_object(
        ResultKind.KEY_OBJECTS, KeyObjectSelectionDocumentStorage, making.source.datasets[0], run, algorithm
    )
    dataset.SeriesNumber = series_number(ResultKind.KEY_OBJECTS, run, making.taken)
    dataset.SeriesDescription = series_description(ResultKind.KEY_OBJECTS, run, algorithm, dataset)
    dataset.ReferencedPerformedProcedureStepSequence = []
    results = [built.dataset for kind in _RESULTS for built in making.of_kind(kind)]
    images = {id(image): image for image, _ in (source_of(making.source, each.index) for each in slices)}
    dataset.CurrentRequestedProcedureEvidenceSequence = hierarchy([*images.values(), *results])
    for element in sr.ContainerContentItem(name=_TITLE, template_id="2010"):
        dataset.add(element)
    dataset.ContentSequence = _content(making, slices, results, dataset)
    return (BuiltObject(ResultKind.KEY_OBJECTS, dataset),)


def _content(
    making: Making, slices: Iterable[KeySlice], results: Iterable[Dataset], dataset: Dataset
) -> list[Dataset]:
    """Return what stands below the title (TID 2010)."""
    return [
        *language(),
        *observer(making.findings.algorithm, making.run, dataset),
        text(_DESCRIPTION, _description(making, slices), dataset),
        *_references(making, slices, results),
    ]


def _description(making: Making, slices: Iterable[KeySlice]) -> str:
    """Return whose choice it is, and why each slice was chosen where the pipeline says so."""
    words = words_of(making.run)
    reasons = [f"{place_of(making.source, each.index, words)}: {each.reason}" for each in slices if each.reason]
    sentences = [f"{words.warning}.", making.run.notice, *reasons]
    return " ".join(sentence for sentence in sentences if sentence)


def _references(making: Making, slices: Iterable[KeySlice], results: Iterable[Dataset]) -> Iterator[Dataset]:
    """Yield an IMAGE item for each key slice, with its frame number, and for each result (TID 2010 row 8)."""
    for each in slices:
        yield _image(image_reference(*source_of(making.source, each.index)))
    for dataset in results:
        yield _image(image_reference(dataset))


def _image(reference: Dataset) -> Dataset:
    """Return an IMAGE item; TID 2010 gives it no concept name, without which highdicom's class cannot do."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "IMAGE"
    item.ReferencedSOPSequence = [reference]
    return item
