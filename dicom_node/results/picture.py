"""Findings to Secondary Capture images (PS3.3 A.8.1): what a PACS shows that draws neither SEG nor SR.

One picture for each key slice, in one series, and further ones in words where there is more to say than fits beside a
slice, or nothing to show. Burnt in are the warning and the notice, never who the patient is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import DS

from dicom_node.contract import KeySlice
from dicom_node.results.drawing import colour_of
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.picture_page import Frame, slice_picture, word_pictures
from dicom_node.results.provenance import (
    code_item,
    copy_compression,
    copy_elements,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.segmentation import found
from dicom_node.results.slice_view import key_slices, letters, panels, spread, turn_of
from dicom_node.results.source_images import image_reference, series_reference, source_of
from dicom_node.results.statements import Line, place_of, statements
from dicom_node.results.words import Words, words_of
from dicom_node.settings import ResultKind

_SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
_ST_LENGTH: Final = 1024
#: However many slices a pipeline names: each picture takes 2.25 MiB.
MOST_PICTURES: Final = 40


@dataclass(frozen=True, slots=True)
class _Page:
    """One picture, and the slice that it shows; words alone show none."""

    image: Image.Image
    index: int | None = None
    mm_per_pixel: float = 0.0


def build_pictures(making: Making) -> tuple[BuiltObject, ...]:
    """Return the pictures: one at least, because that nothing was found is a result too."""
    number = series_number(ResultKind.PICTURE, making.run, making.taken)
    return tuple(
        BuiltObject(ResultKind.PICTURE, _secondary_capture(making, page, instance, number))
        for instance, page in enumerate(_pages(making), 1)
    )


def _pages(making: Making) -> Iterator[_Page]:
    findings, source, words = making.findings, making.source, words_of(making.run)
    frame = _frame(making, words)
    colours = [colour_of(segment) for segment in found(findings)]
    lines = statements(findings, making.run.pipeline_title, words)
    chosen = key_slices(findings, source)
    slices = spread(chosen, MOST_PICTURES)
    if len(slices) < len(chosen):
        lines = (*lines, Line(words.some_slices.format(shown=len(slices), count=len(chosen))))
    room_for_all = bool(slices)
    for each, panel in zip(slices, panels(findings, source, slices), strict=True):
        heading = _heading(making, each, words)
        image, mm_per_pixel, complete = slice_picture(frame, panel, colours, heading, lines)
        room_for_all = room_for_all and complete
        yield _Page(image, each.index, mm_per_pixel)
    if not room_for_all:
        yield from (_Page(image) for image in word_pictures(frame, [_series(making, words)], lines))


def _frame(making: Making, words: Words) -> Frame:
    algorithm, run = making.findings.algorithm, making.run
    now = run.now(str(making.images[0].get("TimezoneOffsetFromUTC") or ""))
    made = f"{algorithm.name} {algorithm.version}, {now.strftime(words.date)}"
    return Frame(run.pipeline_title, (*([run.notice] if run.notice else []), made), words)


def _series(making: Making, words: Words) -> str:
    """Return which series was looked at; its number only, because a description may hold anything."""
    number = making.source.datasets[0].get("SeriesNumber")
    return words.series.format(number="-" if number is None else number)


def _heading(making: Making, each: KeySlice, words: Words) -> list[str]:
    """Return where the slice is found in the source series, and why it is a key slice."""
    place = f"{_series(making, words)}, {place_of(making.source, each.index, words)}"
    return [place, *([each.reason] if each.reason else [])]


def _secondary_capture(making: Making, page: _Page, instance: int, number: int) -> Dataset:
    run, algorithm, image = making.run, making.findings.algorithm, making.source.datasets[0]
    dataset = new_object(ResultKind.PICTURE, SecondaryCaptureImageStorage, image, run, algorithm, instance=instance)
    dataset.SeriesNumber = number
    dataset.SeriesDescription = series_description(ResultKind.PICTURE, run, algorithm, dataset)
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality"))
    _add_capture(dataset, making)
    _add_sources(dataset, making, page)
    _add_image(dataset, making, page)
    return dataset


def _add_capture(dataset: Dataset, making: Making) -> None:
    """Add SC Equipment, SC Image and General Image (PS3.3 C.8.6.1, C.8.6.2, C.7.6.1)."""
    dataset.ConversionType = "WSD"
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.ContentDate, dataset.ContentTime
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "YES"
    title = own_text(making.run.pipeline_title, dataset)
    dataset.DerivationDescription = f"{title}: what was found, drawn and written on the source image"[:_ST_LENGTH]
    if making.run.notice:
        dataset.ImageComments = own_text(making.run.notice, dataset)


def _add_sources(dataset: Dataset, making: Making, page: _Page) -> None:
    """Add General Reference and Common Instance Reference (PS3.3 C.12.4, C.12.2): the slice's image, or all."""
    images, frame = list(making.source.datasets), None
    if page.index is not None:
        image, frame = source_of(making.source, page.index)
        images = [image]
    references = [image_reference(image, frame) for image in images]
    for reference in references:
        reference.PurposeOfReferenceCodeSequence = [code_item(_SOURCE_IMAGE)]
    dataset.SourceImageSequence = references
    dataset.ReferencedSeriesSequence = [series_reference(images, "ReferencedInstanceSequence")]


def _add_image(dataset: Dataset, making: Making, page: _Page) -> None:
    """Add Image Pixel (PS3.3 C.7.6.3); a slice says how it is turned, and what a pixel of it measures."""
    pixels = np.asarray(page.image)
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PatientOrientation = ""
    if page.index is not None:
        turn = turn_of(making.source)
        dataset.PatientOrientation = [letters(turn.right), letters(turn.down)]
        dataset.PixelSpacing = [DS(page.mm_per_pixel, auto_format=True)] * 2
    copy_compression(making.source.datasets[0], dataset)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"  # PS3.5 A.2: Bits Allocated <= 8
