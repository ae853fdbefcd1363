"""What every kind of report says: their language, who observed, what was done, with which algorithm."""

from collections.abc import Iterable, Mapping
from typing import Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node import MANUFACTURER
from dicom_node.contract import Algorithm
from dicom_node.results.objects import RunContext
from dicom_node.results.provenance import device_uid, own_text
from dicom_node.results.segmentation import algorithm_parameters

_PROCEDURE: Final = Code("121058", "DCM", "Procedure reported")
_DEVICE: Final = Code("121007", "DCM", "Device")
_COMMENT: Final = Code("121106", "DCM", "Comment")
_SERIES: Final = Code("112002", "DCM", "Series Instance UID")
_ENGLISH: Final = Code("en-US", "RFC5646", "English (United States)")
#: CID 100 members by modality; the site's own code stays in Procedure Code Sequence.
_PROCEDURES: Final[Mapping[str, Code]] = {"MR": Code("25056-3", "LN", "MRI unspecified body region")}
_ANY_PROCEDURE: Final = Code("363679005", "SCT", "Imaging procedure")


def language() -> sr.LanguageOfContentItemAndDescendants:
    """Return the language of every text (TID 1204)."""
    return sr.LanguageOfContentItemAndDescendants(_ENGLISH)


def observer(algorithm: Algorithm, run: RunContext, dataset: Dataset) -> sr.ObservationContext:
    """Return who observed: this node as a device (TID 1001, 1002, 1004)."""
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=_DEVICE,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=device_uid(run.node_name),
                name=own_text(run.node_name, dataset),
                manufacturer_name=MANUFACTURER,
                model_name=own_text(f"{run.pipeline_title} ({algorithm.name} {algorithm.version})", dataset),
                serial_number=own_text(run.node_name, dataset),
            ),
        )
    )


def procedure(image: Dataset) -> sr.CodeContentItem:
    """Return what was done, as coarse as CID 100 knows it (TID 1500 row 4, TID 2000 row 2)."""
    return sr.CodeContentItem(
        name=_PROCEDURE,
        value=_PROCEDURES.get(str(image.get("Modality")), _ANY_PROCEDURE),
        relationship_type=sr.RelationshipTypeValues.HAS_CONCEPT_MOD,
    )


def algorithm_identification(algorithm: Algorithm, dataset: Dataset) -> sr.AlgorithmIdentification:
    """Return name, version, weights and parameters (TID 4019)."""
    return sr.AlgorithmIdentification(
        name=own_text(algorithm.name, dataset),
        version=own_text(algorithm.version, dataset),
        parameters=[own_text(f"{name}={text}", dataset) for name, text in algorithm_parameters(algorithm).items()],
    )


def container(name: Code, items: Iterable[Dataset], *, continuous: bool = True) -> sr.ContainerContentItem:
    """Return a section; not continuous: viewers show each item on a line of its own (PS3.3 C.17.3.1)."""
    section = sr.ContainerContentItem(
        name=name, is_content_continuous=continuous, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    section.ContentSequence = sr.ContentSequence(items)
    return section


def text(name: Code, value: str, dataset: Dataset) -> sr.TextContentItem:
    """Return a sentence under a name."""
    return sr.TextContentItem(
        name=name, value=own_text(value, dataset), relationship_type=sr.RelationshipTypeValues.CONTAINS
    )


def comment(value: str, dataset: Dataset) -> sr.TextContentItem:
    """Return a sentence that is no finding."""
    return text(_COMMENT, value, dataset)


def series_reference(
    image: Dataset, relationship: sr.RelationshipTypeValues = sr.RelationshipTypeValues.INFERRED_FROM
) -> sr.UIDRefContentItem:
    """Return the series of an image as a whole; its images stand in the evidence, hundreds of links bury the text."""
    return sr.UIDRefContentItem(name=_SERIES, value=str(image.SeriesInstanceUID), relationship_type=relationship)
