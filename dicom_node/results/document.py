"""Findings to an Encapsulated PDF (PS3.3 A.45.1): the result as a sheet of paper, for whoever has no viewer.

A sheet that is printed must say whose it is, so it bears the patient's name, ID and birth date - inside a data set
that bears them anyway. They are written nowhere else.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import EncapsulatedPDFStorage

from dicom_node.contract import Findings, Measurement
from dicom_node.results.document_page import Picture, Sheet, Value, pdf
from dicom_node.results.drawing import add_scale_bar, colour_of, drawn
from dicom_node.results.lettering import is_shown, shown
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.provenance import (
    code_item,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.segmentation import algorithm_parameters, found
from dicom_node.results.sentences import reference_range
from dicom_node.results.slice_view import key_slices, panels, spread
from dicom_node.results.source_images import image_reference
from dicom_node.results.statements import interval, limit_texts, percent, place_of, quantity, swatches
from dicom_node.results.words import Words, words_of
from dicom_node.settings import ResultKind

_TITLE: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
_PICTURES: Final = 3
_PIXELS: Final = 400  # of a picture's height
_DATE_LENGTH: Final = 8


def build_document(making: Making) -> tuple[BuiltObject, ...]:
    """Return the document; that nothing was found is printed too."""
    run, algorithm = making.run, making.findings.algorithm
    dataset = new_object(ResultKind.DOCUMENT, EncapsulatedPDFStorage, making.source.datasets[0], run, algorithm)
    dataset.SeriesNumber = series_number(ResultKind.DOCUMENT, run, making.taken)
    dataset.SeriesDescription = series_description(ResultKind.DOCUMENT, run, algorithm, dataset)
    _add_document(dataset, making, pdf(_sheet(making, dataset)))
    return (BuiltObject(ResultKind.DOCUMENT, dataset),)


def _add_document(dataset: Dataset, making: Making, content: bytes) -> None:
    """Add SC Equipment and Encapsulated Document (PS3.3 C.8.6.1, C.24.2); a zero makes the length even."""
    dataset.ConversionType = "WSD"
    dataset.AcquisitionDateTime = None
    dataset.BurnedInAnnotation = "YES"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.SourceInstanceSequence = [image_reference(image) for image in making.source.datasets]
    dataset.DocumentTitle = own_text(making.run.pipeline_title, dataset)
    dataset.ConceptNameCodeSequence = [code_item(_TITLE)]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)


def _sheet(making: Making, dataset: Dataset) -> Sheet:
    findings, run, words = making.findings, making.run, words_of(making.run)
    now = run.now(str(dataset.get("TimezoneOffsetFromUTC") or ""))
    values = tuple(_values(findings, words))
    remarks = (*_unfound(findings, words), *findings.remarks)
    if not (values or remarks or findings.classifications or findings.locations or found(findings)):
        remarks = (words.nothing.format(title=run.pipeline_title),)
    return Sheet(
        title=run.pipeline_title,
        identity=identity(dataset, words),
        notice=run.notice,
        made=now,
        words=words,
        pictures=tuple(_pictures(making, words)),
        legend=swatches(findings),
        values=values,
        populations=tuple(_populations(findings, words)),
        answers=tuple(_answers(findings, words)),
        remarks=remarks,
        facts=tuple(_facts(making, dataset, words)),
    )


def identity(dataset: Dataset, words: Words) -> str:
    """Return whose result it is: name, ID, birth date, study; unknown is said where the source says nothing."""
    study = _day(str(dataset.get("StudyDate") or ""), words)
    accession = str(dataset.get("AccessionNumber") or "")
    parts = [
        f"{words.patient}: {_name(str(dataset.get('PatientName') or ''), words)}",
        f"{words.patient_id}: {dataset.get('PatientID') or words.unknown}",
        f"{words.born}: {_day(str(dataset.get('PatientBirthDate') or ''), words)}",
        f"{words.study_date} {study}",
        *([f"{words.accession}: {accession}"] if accession else []),
    ]
    return "  \N{MIDDLE DOT}  ".join(parts)


def _name(value: str, words: Words) -> str:
    """Return a PN value (PS3.5 6.2.1) as it is read: the first of its groups that can be shown.

    Alphabetic, ideographic and phonetic group are the same name; letters that the font lacks lose their accents only
    if there is no better group.
    """
    groups = [_written(group) for group in value.split("=") if group.strip("^ ")]
    if not groups:
        return words.unknown
    best = next((group for group in groups if is_shown(group)), groups[0])
    legible = shown(best)
    return legible if any(character.isalpha() for character in legible) else words.unshowable


def _written(group: str) -> str:
    family, *others = (part.strip() for part in group.split("^"))
    given = " ".join(part for part in others if part)
    return ", ".join(part for part in (family, given) if part)


def _day(value: str, words: Words) -> str:
    """Return a DA value (PS3.5 6.2) as it is read; as it stands if it is none."""
    if not value:
        return words.unknown
    if len(value) != _DATE_LENGTH or not value.isdecimal():
        return value
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:])).strftime(words.date)
    except ValueError:
        return value


def _pictures(making: Making, words: Words) -> Iterator[Picture]:
    findings, source = making.findings, making.source
    slices = spread(key_slices(findings, source, _PICTURES), _PICTURES)
    colours = [colour_of(segment) for segment in found(findings)]
    for each, panel in zip(slices, panels(findings, source, slices), strict=True):
        mm_per_pixel = panel.height_mm / _PIXELS
        image = drawn(panel, colours, mm_per_pixel)
        add_scale_bar(image, mm_per_pixel)
        yield Picture(image, place_of(source, each.index, words))


def _values(findings: Findings, words: Words) -> Iterator[Value]:
    for item in findings.measurements:
        limits = reference_range(item, findings)
        value = Value(
            item.segment or words.all_images, item.name.meaning, quantity(item.value, item.unit, words), item.value
        )
        if limits is None:
            yield value
            continue
        yield Value(
            value.of,
            value.name,
            value.text,
            item.value,
            (limits.low, limits.high),
            limit_texts(limits, words),
            interval(limits, words),
            _verdict(item, limits.low, limits.high, words),
        )


def _verdict(item: Measurement, low: float, high: float, words: Words) -> str:
    if item.value < low:
        return words.below
    return words.above if item.value > high else words.within


def _populations(findings: Findings, words: Words) -> Iterator[str]:
    for each in findings.ranges:
        yield f"{words.range}, {each.measurement.meaning} ({each.segment or words.all_images}): {each.population}"


def _answers(findings: Findings, words: Words) -> Iterator[tuple[str, str, str, str]]:
    for location in findings.locations:
        yield location.label, words.places, location.type.meaning, _chance(location.probability, words)
    for each in findings.classifications:
        of = each.of or words.all_images
        yield of, each.name.meaning, each.value.meaning, _chance(each.probability, words)


def _chance(probability: float | None, words: Words) -> str:
    return "\N{EN DASH}" if probability is None else percent(probability, words)


def _unfound(findings: Findings, words: Words) -> Iterator[str]:
    labels = {segment.label for segment in found(findings)}
    for segment in findings.segments:
        if segment.label not in labels:
            yield f"{segment.label}: {words.not_found}."


def _facts(making: Making, dataset: Dataset, words: Words) -> Iterator[tuple[str, str]]:
    algorithm, run = making.findings.algorithm, making.run
    yield words.algorithm, f"{algorithm.name} {algorithm.version} ({algorithm.family.meaning})"
    if algorithm.weights_sha256:
        yield words.weights, algorithm.weights_sha256
    parameters = {name: text for name, text in algorithm_parameters(algorithm).items() if name != "weights_sha256"}
    if parameters:
        yield words.parameters, ", ".join(f"{name} = {text}" for name, text in parameters.items())
    yield words.study, str(dataset.StudyInstanceUID)
    for role, source in making.sources.items():
        yield f"{words.source_series} ({role})", str(source.datasets[0].SeriesInstanceUID)
    now = run.now(str(dataset.get("TimezoneOffsetFromUTC") or ""))
    yield words.created, f"{now.strftime(words.date)} {now.strftime('%H:%M')} {words.by} {run.node_name}"
