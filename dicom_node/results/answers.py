"""Numbers and answers in words as content items of a measurement group (TID 300, 1419, 1501; PS3.16)."""

from typing import Any, Final

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Measurement, ReferenceRange
from dicom_node.results.provenance import own_text
from dicom_node.results.sentences import percent, range_text, reference_range

#: Not (111047, DCM), which is the probability of cancer, whatever was asked.
_PROBABILITY: Final = Code("122157", "DCM", "Probability")
_PERCENT: Final = Code("%", "UCUM", "Percent")
_RANGE: Final = Code("121407", "DCM", "Normal Range description")


def measurements_of(label: str, findings: Findings, dataset: Dataset) -> list[sr.Measurement]:
    """Return the numbers about one segment or location, or (empty label) about the images as a whole."""
    return [_measurement(item, findings, dataset) for item in findings.measurements if item.segment == label]


def qualities_of(label: str, findings: Findings) -> list[sr.QualitativeEvaluation]:
    """Return the answers in words about one segment or location, or (empty label) about the images as a whole."""
    return [_quality(answer) for answer in findings.classifications if answer.of == label]


def probability(share: float) -> dict[str, Any]:
    """Return name, value and unit of a probability of 0 to 1, which viewers show with its unit: in percent."""
    return {"name": _PROBABILITY, "value": percent(share), "unit": _PERCENT}


def _measurement(item: Measurement, findings: Findings, dataset: Dataset) -> sr.Measurement:
    measurement = sr.Measurement(
        name=item.name, value=float(item.value), unit=item.unit, derivation=item.derivation, method=item.method
    )
    known = reference_range(item, findings)
    if known is not None:
        properties = [*measurement[0].get("ContentSequence", ()), _range(known, item, dataset)]
        measurement[0].ContentSequence = sr.ContentSequence(properties)
    return measurement


def _range(known: ReferenceRange, item: Measurement, dataset: Dataset) -> sr.TextContentItem:
    """Return the reference range in words (TID 312 row 2).

    Its limits as numbers (row 1) PixelMed's validator refuses: it takes any number below a number for one that this
    was inferred from.
    """
    return sr.TextContentItem(
        name=_RANGE,
        value=own_text(range_text(known, item.unit), dataset),
        relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
    )


def _quality(answer: Classification) -> sr.QualitativeEvaluation:
    """Return a qualitative evaluation; how sure the algorithm is of it is a property of it, not of the finding."""
    quality = sr.QualitativeEvaluation(name=answer.name, value=answer.value)
    if answer.probability is not None:
        sure = sr.NumContentItem(
            **probability(answer.probability), relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES
        )
        quality[0].ContentSequence = sr.ContentSequence([sure])
    return quality
