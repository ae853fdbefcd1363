"""What was found, in sentences: for viewers that show words only, and for what has no place in the images."""

import math
from collections.abc import Iterator
from decimal import Decimal

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Location, Measurement, ReferenceRange
from dicom_node.geometry import SourceSeries
from dicom_node.results.marks import nearest_slice
from dicom_node.results.objects import BuiltObject, Predecessor
from dicom_node.results.segmentation import found
from dicom_node.results.source_images import is_multiframe, source_of


def everything(findings: Findings, source: SourceSeries) -> Iterator[str]:
    """Yield a sentence for all that a pipeline found, beside its own remarks."""
    segments = found(findings)
    if segments:
        yield f"Found in these images: {', '.join(segment.label for segment in segments)}."
    for item in findings.measurements:
        yield measured(item, findings)
    for answer in findings.classifications:
        yield answered(answer, findings)
    for location in findings.locations:
        yield located(location, source)


def unplaced(findings: Findings) -> Iterator[str]:
    """Yield a sentence for what is about a segment that was not found: it has no place in the images."""
    for item in findings.measurements:
        if is_absent(item.segment, findings):
            yield measured(item, findings)
    for answer in findings.classifications:
        if is_absent(answer.of, findings):
            yield answered(answer, findings)


def is_absent(label: str, findings: Findings) -> bool:
    """Return whether something is about a segment that holds not a voxel; about all the images is about something."""
    there = {segment.label for segment in found(findings)} | {location.label for location in findings.locations}
    return bool(label) and label not in there


def measured(item: Measurement, findings: Findings) -> str:
    """Return a number as a sentence, with how it was got, and where the same number lies in healthy people."""
    modifiers = [code.meaning for code in (item.derivation, item.method) if code is not None]
    how = f" ({', '.join(modifiers)})" if modifiers else ""
    return (
        f"{item.name.meaning}{how}{_of(item.segment)}: {amount(item.value, item.unit)}"
        f"{_absence(item.segment, findings)}{_range(item, findings)}."
    )


def answered(answer: Classification, findings: Findings) -> str:
    """Return an answer in words as a sentence."""
    return (
        f"{answer.name.meaning}{_of(answer.of)}: {answer.value.meaning}"
        f"{_chance(answer.probability)}{_absence(answer.of, findings)}."
    )


def located(location: Location, source: SourceSeries) -> str:
    """Return a place as a sentence: which image, and where on it, in pixels from 1."""
    at, row, column = location.point
    index = nearest_slice(at, source.volume.spatial_shape[0])
    image, frame = source_of(source, index)
    number = frame if is_multiframe(image) else image.get("InstanceNumber")
    which = f"slice {index + 1}" if number is None else f"{'frame' if is_multiframe(image) else 'image'} {number}"
    site = ", ".join(code.meaning for code in (location.region, location.laterality) if code is not None)
    return (
        f"{location.label}: {location.type.meaning}{f' ({site})' if site else ''}{_chance(location.probability)}, "
        f"on {which} of {series_named(image)}, column {column + 1:.0f}, row {row + 1:.0f}."
    )


def supersedes(predecessor: Predecessor) -> str:
    """Return that an earlier report does not hold any more."""
    return (
        f"Supersedes the report {predecessor.sop_instance_uid}, "
        "which was made before all images of this study had arrived."
    )


def made_beside(objects: tuple[BuiltObject, ...]) -> str:
    """Return where the other results of the job are to be seen; empty, if there are none."""
    series = {int(each.dataset.SeriesNumber): str(each.dataset.SeriesDescription) for each in objects}
    told = ", ".join(f"series {number} ({description})" for number, description in sorted(series.items()))
    return f"Made beside this report: {told}." if told else ""


def series_named(image: Dataset) -> str:
    """Return the series of an image as a reader knows it."""
    number = image.get("SeriesNumber")
    return "a series without number" if number is None else f"series {number}"


def reference_range(item: Measurement, findings: Findings) -> ReferenceRange | None:
    """Return where a measured number lies in healthy people, if the pipeline says so."""
    return next(
        (each for each in findings.ranges if (each.measurement, each.segment) == (item.name, item.segment)), None
    )


def range_text(known: ReferenceRange, unit: Code) -> str:
    """Return a reference range in words; a side without a limit is not spoken of."""
    if not math.isfinite(known.low):
        limits = f"up to {amount(known.high, unit)}"
    elif not math.isfinite(known.high):
        limits = f"from {amount(known.low, unit)}"
    else:
        limits = f"{_plain(known.low)} to {amount(known.high, unit)}"
    return f"{limits}, {known.population}"


def amount(value: float, unit: Code) -> str:
    """Return a number with its unit."""
    shown = "" if unit.value == "1" or unit.value.startswith("{") else unit.value
    return f"{_plain(value)} {shown}".rstrip()


def percent(probability: float) -> float:
    """Return a probability of 0 to 1 in percent, without the last bits of binary fractions."""
    return round(100 * probability, 4)


def _plain(value: float) -> str:
    """Return a number without powers of ten, and without the last bits of binary fractions."""
    return format(Decimal(f"{value:.8g}"), "f")


def _chance(probability: float | None) -> str:
    return "" if probability is None else f" (probability {_plain(percent(probability))} %)"


def _of(label: str) -> str:
    return f" of {label}" if label else " of the images as a whole"


def _absence(label: str, findings: Findings) -> str:
    return " (not found in these images)" if is_absent(label, findings) else ""


def _range(item: Measurement, findings: Findings) -> str:
    known = reference_range(item, findings)
    return "" if known is None else f"; reference range {range_text(known, item.unit)}"
