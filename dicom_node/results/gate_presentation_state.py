"""What the gate looks at in a presentation state: lines that lie inside the right images, seen as the source is."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_node.results.gate_case import Case, Check, items, same_place
from dicom_node.results.gate_content import described
from dicom_node.results.gate_frames import frame_groups
from dicom_node.results.gate_references import astray, references, slice_finder
from dicom_node.results.gate_segmentation import is_label_map, labels_of_frames
from dicom_node.results.outline import FEWEST_POINTS, MOST_POINTS
from dicom_node.results.source_images import frame_numbers
from dicom_node.settings import ResultKind

_LAB_VALUES: Final = 3
_NARROWEST: Final = 1
_SEGMENT: Final = "SEGMENT_"
#: Functional group, attribute, and what it is where the source says nothing.
_OF_A_WINDOW: Final = (
    ("FrameVOILUTSequence", "WindowCenter", math.nan),
    ("FrameVOILUTSequence", "WindowWidth", math.nan),
    ("PixelValueTransformationSequence", "RescaleSlope", 1.0),
    ("PixelValueTransformationSequence", "RescaleIntercept", 0.0),
)


def _form(case: Case) -> Iterator[str]:
    """PS3.3 A.33.1: of the source's part of the body, for all of each image."""
    image = case.source.datasets[0]
    if case.dataset.get("SOPClassUID") != GrayscaleSoftcopyPresentationStateStorage:
        yield "SOPClassUID is not Grayscale Softcopy Presentation State Storage"
    yield from same_place(case)
    if not case.dataset.get("ContentLabel"):
        yield "ContentLabel is empty"
    for area in items(case.dataset, "DisplayedAreaSelectionSequence") or [Dataset()]:
        if list(area.get("DisplayedAreaBottomRightHandCorner") or ()) != [image.Columns, image.Rows]:
            yield "the displayed area is not the whole image"


def _references(case: Case) -> Iterator[str]:
    """Lines lie on images that the presentation state says it is for, and on no others."""
    yield from astray(case, "ReferencedSeriesSequence", "GraphicAnnotationSequence", "SoftcopyVOILUTSequence")
    presented, slices = _slices(case, "ReferencedSeriesSequence"), slice_finder(case)
    for keyword in ("GraphicAnnotationSequence", "SoftcopyVOILUTSequence"):
        if not all(slices(item) for item in references(case.dataset, keyword)):
            yield f"a reference in {keyword} means no slice"
        if _slices(case, keyword) != presented:
            yield f"{keyword} is not about the images that are referred to"


def _slices(case: Case, keyword: str) -> set[int]:
    slices = slice_finder(case)
    return {index for item in references(case.dataset, keyword) for index in slices(item)}


def _layers(case: Case) -> Iterator[str]:
    """PS3.3 C.10.7: a layer with a colour for each segment, and each annotation on a layer that there is."""
    layers = items(case.dataset, "GraphicLayerSequence")
    names = [str(layer.GraphicLayer) for layer in layers]
    if len(set(names)) != len(names) or not names:
        yield "graphic layers are not named once each"
    for layer in layers:
        if len(items(layer, "GraphicLayerRecommendedDisplayCIELabValue")) != _LAB_VALUES:
            yield f"layer {layer.GraphicLayer} has no colour"
    if {str(each.GraphicLayer) for each in items(case.dataset, "GraphicAnnotationSequence")} != set(names):
        yield "annotations are not on the layers that there are"


def _outlines(case: Case) -> Iterator[str]:
    """PS3.3 C.10.5: closed lines in pixels, inside the image, not too long for viewers."""
    columns, rows = case.source.datasets[0].Columns, case.source.datasets[0].Rows
    for annotation in items(case.dataset, "GraphicAnnotationSequence"):
        for item in items(annotation, "GraphicObjectSequence"):
            values = [float(value) for value in item.GraphicData]
            points = list(zip(values[::2], values[1::2], strict=True))
            if (item.GraphicAnnotationUnits, item.GraphicType) != ("PIXEL", "POLYLINE") or points[0] != points[-1]:
                yield "an outline is not a closed POLYLINE in pixels"
            if not FEWEST_POINTS <= len(points) <= MOST_POINTS or len(points) != item.NumberOfGraphicPoints:
                yield f"an outline has {len(points)} points, not {FEWEST_POINTS} to {MOST_POINTS}"
            if any(not (0 <= x <= columns and 0 <= y <= rows) for x, y in points):
                yield "an outline leaves the image"


def _segments(case: Case) -> Iterator[str]:
    """Where there is a SEG, each of its segments is outlined on slices on which it has a frame, and on no others."""
    slices = slice_finder(case)
    outlined: dict[str, set[int]] = defaultdict(set)
    for each in items(case.dataset, "GraphicAnnotationSequence"):
        for item in items(each, "ReferencedImageSequence"):
            outlined[str(each.GraphicLayer)] |= slices(item)
    for built in case.objects:
        if built.kind is not ResultKind.SEGMENTATION:
            continue
        for number, marked in _marked(case, built.dataset).items():
            lines = outlined[f"{_SEGMENT}{number}"]
            if not lines or not lines <= marked:
                yield f"segment {number} is not outlined where the SEG has it"


def _marked(case: Case, segmentation: Dataset) -> dict[int, set[int]]:
    """Return, for each segment of a SEG, the slices on which it has a frame, or in a label map a pixel."""
    slices = slice_finder(case)
    marked: dict[int, set[int]] = {int(item.SegmentNumber): set() for item in described(segmentation)}
    for groups, numbers in zip(frame_groups(segmentation), _shown(segmentation), strict=True):
        for number in numbers & marked.keys():
            for derivation in groups.derivation:
                for item in references(derivation, "SourceImageSequence"):
                    marked[number] |= slices(item)
    return marked


def _shown(segmentation: Dataset) -> Iterable[set[int]]:
    """Return, for each frame of a SEG, the segments that it shows."""
    if is_label_map(segmentation):
        return labels_of_frames(segmentation)
    return ({int(groups.segment[0].ReferencedSegmentNumber)} for groups in frame_groups(segmentation))


def _words(case: Case) -> Iterator[str]:
    """Every image that has lines says in words whose lines they are."""
    slices = slice_finder(case)
    told: set[int] = set()
    for annotation in items(case.dataset, "GraphicAnnotationSequence"):
        texts = [
            str(item.get("UnformattedTextValue") or "").strip() for item in items(annotation, "TextObjectSequence")
        ]
        if any(texts):
            for item in references(annotation, "ReferencedImageSequence"):
                told |= slices(item)
    if told != _slices(case, "ReferencedSeriesSequence"):
        yield "not every image bears the warning"


def _grey_values(case: Case) -> Iterator[str]:
    """PS3.3 C.11.8: a window that is one."""
    windows = items(case.dataset, "SoftcopyVOILUTSequence")
    if not windows or any(float(each.WindowWidth) < _NARROWEST for each in windows):
        yield "there is an image without a window"
    if case.dataset.get("PresentationLUTShape") not in {"IDENTITY", "INVERSE"}:
        yield "PresentationLUTShape is neither IDENTITY nor INVERSE"


def _seen_alike(case: Case) -> Iterator[str]:
    """PS3.3 C.11.8, C.11.6: where a source image has a window, the same stored values are black and white."""
    inverse = case.source.datasets[0].get("PhotometricInterpretation") == "MONOCHROME1"
    if (case.dataset.get("PresentationLUTShape") == "INVERSE") != inverse:
        yield "black and white are not those of the source"
    slices = slice_finder(case)
    ours = float(case.dataset.get("RescaleSlope", 1)), float(case.dataset.get("RescaleIntercept", 0))
    for item in items(case.dataset, "SoftcopyVOILUTSequence"):
        shown = _stored((float(item.WindowCenter), float(item.WindowWidth)), ours)
        for index in sorted({index for each in items(item, "ReferencedImageSequence") for index in slices(each)}):
            known = _source_window(case, index)
            if known and any(abs(one - other) > _NARROWEST for one, other in zip(shown, known, strict=True)):
                yield f"the window of slice {index + 1} is not that of the source"


def _source_window(case: Case, index: int) -> tuple[float, float] | None:
    """Return the first window of a source image in stored values; None where it has none."""
    frame = case.source.frames[index]
    values = [
        next(iter(frame_numbers(case.source.datasets[frame.dataset], frame.frame, group, keyword)), default)
        for group, keyword, default in _OF_A_WINDOW
    ]
    centre, width, slope, intercept = values
    return _stored((centre, width), (slope, intercept)) if width > 0 and slope and math.isfinite(centre) else None


def _stored(window: tuple[float, float], rescale: tuple[float, float]) -> tuple[float, float]:
    """Return the centre and the width of a window in stored values (PS3.3 C.11.1)."""
    (centre, width), (slope, intercept) = window, rescale
    return (centre - intercept) / slope, width / abs(slope)


PRESENTATION_STATE_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "references": _references,
    "layers": _layers,
    "outlines": _outlines,
    "segments": _segments,
    "words": _words,
    "grey values": _grey_values,
    "seen alike": _seen_alike,
}
