"""Outlines to a Grayscale Softcopy Presentation State (PS3.3 A.33.1): lines on the source images themselves.

For viewers that draw presentation states and no SEG. One graphic layer for each segment, in its colour, and one for
the warning; only images with an outline are referred to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage
from pydicom.valuerep import DS

from dicom_node.contract import Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.masks import occupied
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.outline import Outline, all_outlines
from dicom_node.results.provenance import (
    content_label,
    copy_elements,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.segmentation import found
from dicom_node.results.source_images import frame_numbers, image_reference, plane_of, source_of
from dicom_node.results.source_window import Window, windows
from dicom_node.results.words import words_of
from dicom_node.settings import ResultKind

_LO_LENGTH: Final = 64
_ST_LENGTH: Final = 1024
_WARNING_LAYER: Final = "AI_WARNING"
_WHITE: Final = (100.0, 0.0, 0.0)
#: The warning's box in shares of the display: top left, bottom right (PS3.3 C.10.5.1.1).
_WARNING_BOX: Final = ((0.02, 0.95), (0.98, 0.99))
#: Defined terms of Rescale Type (0028,1054); "US" is unspecified.
_RESCALE_TYPES: Final = frozenset({"OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"})
_NARROWEST: Final = 1.0  # PS3.3 C.11.2.1.2.1

#: A hundred organs have some thousands. A mask that is noise has millions, which take hours and gigabytes.
MOST_OUTLINES: Final = 20_000

#: Slice index to the outlines on it, for one segment.
_OnSlices = Mapping[int, Sequence[Outline]]


@dataclass(frozen=True, slots=True)
class _Rescale:
    """From stored to modality values (PS3.3 C.11.1)."""

    slope: float
    intercept: float


def build_presentation_state(making: Making) -> tuple[BuiltObject, ...]:
    """Return the presentation state of every segment that was found; nothing, if none was, or none has a shape."""
    findings, source, run = making.findings, making.source, making.run
    segments = found(findings)
    drawn = _drawn(segments)
    if not drawn:
        return ()
    image = source.datasets[0]
    dataset = new_object(
        ResultKind.PRESENTATION_STATE,
        GrayscaleSoftcopyPresentationStateStorage,
        image,
        run,
        findings.algorithm,
    )
    dataset.SeriesNumber = series_number(ResultKind.PRESENTATION_STATE, run, making.taken)
    dataset.SeriesDescription = series_description(ResultKind.PRESENTATION_STATE, run, findings.algorithm, dataset)
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality"))
    _add_identification(dataset, making)
    slices = sorted({index for each in drawn for index in each})
    dataset.ReferencedSeriesSequence = [_series(source, slices)]
    dataset.GraphicLayerSequence = _layers(segments, dataset)
    dataset.GraphicAnnotationSequence = [
        *(
            _annotation(source, index, number, outlines)
            for number, each in enumerate(drawn, 1)
            for index, outlines in sorted(each.items())
        ),
        *(_warning(making, index, dataset) for index in slices),
    ]
    _add_grey_values(dataset, source, slices)
    dataset.DisplayedAreaSelectionSequence = [_displayed_area(source)]
    return (BuiltObject(ResultKind.PRESENTATION_STATE, dataset),)


def _drawn(segments: Sequence[Segment]) -> list[_OnSlices]:
    """Return the outlines of each segment; none at all, if there are too many to be lines that anybody looks at."""
    drawn: list[_OnSlices] = []
    outlined = 0
    for segment, slices in zip(segments, occupied(segments), strict=True):
        on_slices: dict[int, list[Outline]] = defaultdict(list)
        for outline in all_outlines(segment.voxels, np.flatnonzero(slices).tolist()):
            on_slices[outline.slice_index].append(outline)
            outlined += 1
            if outlined > MOST_OUTLINES:
                return []
        drawn.append(on_slices)
    return drawn


def _add_identification(dataset: Dataset, making: Making) -> None:
    """Add Presentation State Identification (PS3.3 C.11.10)."""
    dataset.PresentationCreationDate = dataset.ContentDate
    dataset.PresentationCreationTime = dataset.ContentTime
    del dataset.ContentDate, dataset.ContentTime  # not of this IOD
    dataset.ContentLabel = content_label(making.run.pipeline_title)
    dataset.ContentDescription = own_text(making.run.notice, dataset)[:_LO_LENGTH]
    dataset.ContentCreatorName = ""


def _series(source: SourceSeries, slices: Iterable[int]) -> Dataset:
    """Return the item of Presentation State Relationship (PS3.3 C.11.11)."""
    item = Dataset()
    item.SeriesInstanceUID = source.datasets[0].SeriesInstanceUID
    item.ReferencedImageSequence = _references(source, slices)
    return item


def _references(source: SourceSeries, slices: Iterable[int]) -> list[Dataset]:
    """Return an item for each image, with the numbers of all its frames that are meant."""
    frames: dict[int, list[int]] = defaultdict(list)
    for index in slices:
        frames[source.frames[index].dataset].append(source.frames[index].frame)
    return [
        image_reference(source.datasets[number], numbers[0] if len(numbers) == 1 else sorted(numbers))
        for number, numbers in frames.items()
    ]


def _layers(segments: Sequence[Segment], dataset: Dataset) -> list[Dataset]:
    """Return the items of Graphic Layer (PS3.3 C.10.7), the warning on top."""
    layers = [
        _layer(_layer_name(number), number, segment.colour_lab, own_text(segment.label, dataset))
        for number, segment in enumerate(segments, 1)
    ]
    return [*layers, _layer(_WARNING_LAYER, len(layers) + 1, _WHITE, "Warning")]


def _layer(name: str, order: int, colour_lab: tuple[float, float, float], description: str) -> Dataset:
    layer = Dataset()
    layer.GraphicLayer = name
    layer.GraphicLayerOrder = order
    layer.GraphicLayerRecommendedDisplayCIELabValue = list(hd.color.CIELabColor(*colour_lab).value)
    layer.GraphicLayerDescription = description[:_LO_LENGTH]
    return layer


def _layer_name(number: int) -> str:
    return f"SEGMENT_{number}"


def _annotation(source: SourceSeries, index: int, number: int, outlines: Sequence[Outline]) -> Dataset:
    """Return an item of Graphic Annotation (PS3.3 C.10.5): the outlines of one segment on one slice."""
    annotation = Dataset()
    annotation.ReferencedImageSequence = _references(source, [index])
    annotation.GraphicLayer = _layer_name(number)
    annotation.GraphicObjectSequence = [_polyline(outline) for outline in outlines]
    return annotation


def _polyline(outline: Outline) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(outline.points)
    item.GraphicData = outline.points.ravel().tolist()
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    return item


def _warning(making: Making, index: int, dataset: Dataset) -> Dataset:
    """Return the text that says on every image whose lines these are."""
    text = Dataset()
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    (text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner) = map(list, _WARNING_BOX)
    text.BoundingBoxTextHorizontalJustification = "CENTER"
    text.UnformattedTextValue = own_text(words_of(making.run).warning, dataset)[:_ST_LENGTH]
    annotation = Dataset()
    annotation.ReferencedImageSequence = _references(making.source, [index])
    annotation.GraphicLayer = _WARNING_LAYER
    annotation.TextObjectSequence = [text]
    return annotation


def _add_grey_values(dataset: Dataset, source: SourceSeries, slices: Sequence[int]) -> None:
    """Add Modality LUT, Softcopy VOI LUT, Softcopy Presentation LUT (PS3.3 C.11.1, C.11.8, C.11.6): as the source.

    A presentation state has one rescale for all images; where the source has several, windows are given in stored
    values, which is the same.
    """
    rescales = {index: _rescale(source, index) for index in slices}
    several = len(set(rescales.values())) > 1
    if not several:
        dataset.RescaleIntercept = DS(rescales[slices[0]].intercept, auto_format=True)
        dataset.RescaleSlope = DS(rescales[slices[0]].slope, auto_format=True)
        unit = source.datasets[0].get("RescaleType")
        dataset.RescaleType = unit if unit in _RESCALE_TYPES else "US"
    alike: dict[tuple[float, float], list[int]] = defaultdict(list)
    shown = windows(source, slices)
    for index in slices:
        alike[_values(shown[index], rescales[index] if several else _Rescale(1, 0))].append(index)
    dataset.SoftcopyVOILUTSequence = [_voi(source, values, indices) for values, indices in alike.items()]
    dataset.PresentationLUTShape = "INVERSE" if shown[slices[0]].inverse else "IDENTITY"


def _rescale(source: SourceSeries, index: int) -> _Rescale:
    image, frame = source_of(source, index)
    slope = frame_numbers(image, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = frame_numbers(image, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    return _Rescale(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)


def _values(window: Window, rescale: _Rescale) -> tuple[float, float]:
    centre, width = (window.centre - rescale.intercept) / rescale.slope, window.width / abs(rescale.slope)
    return centre, max(width, _NARROWEST)


def _voi(source: SourceSeries, values: tuple[float, float], slices: Sequence[int]) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = _references(source, slices)
    item.WindowCenter, item.WindowWidth = (DS(float(np.round(value, 6)), auto_format=True) for value in values)
    return item


def _displayed_area(source: SourceSeries) -> Dataset:
    """Return the item of Displayed Area (PS3.3 C.10.4): the whole of every image, in its own proportions."""
    image = source.datasets[0]
    item = Dataset()
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [int(image.Columns), int(image.Rows)]
    item.PresentationSizeMode = "SCALE TO FIT"
    spacing = plane_of(*source_of(source, 0)).spacing
    item.PresentationPixelSpacing = spacing.value
    return item
