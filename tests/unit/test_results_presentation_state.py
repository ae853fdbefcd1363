"""A presentation state draws the outlines on the source images, in the right place and colour."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import Dataset

from dicom_node.contract import Findings
from dicom_node.geometry import SourceSeries
from dicom_node.results import build, check, presentation_state
from dicom_node.settings import ResultKind
from tests import results_cases
from tests.picture_cases import built, read, rich
from tests.results_cases import ALGORITHM, ROLE, findings, profile, run_context, source_series


def state(found: Findings, source: SourceSeries | None = None, **changes: object) -> Dataset:
    (dataset,) = read(built(found, source, **changes), "PR")
    return dataset


def lines(dataset: Dataset, layer: str) -> list[Dataset]:
    return [item for item in dataset.GraphicAnnotationSequence if item.GraphicLayer == layer]


def filled(annotation: Dataset, shape: tuple[int, int], finer: int = 8) -> np.ndarray:
    """Return the pixels, (row, column), whose larger part a set of closed lines encloses (even-odd)."""
    inside = np.zeros((shape[0] * finer, shape[1] * finer), dtype=bool)
    for item in annotation.GraphicObjectSequence:
        points = np.array(item.GraphicData).reshape(-1, 2) * finer - 0.5
        ring = Image.new("1", inside.shape[::-1])
        ImageDraw.Draw(ring).polygon([tuple(point) for point in points], fill=1)
        inside ^= np.array(ring)
    return inside.reshape(shape[0], finer, shape[1], finer).mean(axis=(1, 3)) > 0.4


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_lines_enclose_the_masks(enhanced: bool) -> None:
    """Filled, the lines of each image are its mask, holes and all, pixel by pixel."""
    source = source_series(enhanced=enhanced)
    dataset = state(rich(), source)
    for number, segment in enumerate(rich().segments, 1):
        annotations = lines(dataset, f"SEGMENT_{number}")
        assert len(annotations) == segment.mask.any(axis=(1, 2)).sum()
        for annotation in annotations:
            (item,) = annotation.ReferencedImageSequence
            uids = [image.SOPInstanceUID for image in source.datasets]
            index = item.ReferencedFrameNumber - 1 if enhanced else uids.index(item.ReferencedSOPInstanceUID)
            assert (filled(annotation, segment.mask.shape[1:]) == segment.mask[index]).all()


def test_each_segment_has_a_layer_in_its_colour() -> None:
    """PS3.3 C.10.7; the warning is on top."""
    layers = state(rich()).GraphicLayerSequence
    assert [(layer.GraphicLayer, layer.GraphicLayerOrder) for layer in layers] == [
        ("SEGMENT_1", 1),
        ("SEGMENT_2", 2),
        ("AI_WARNING", 3),
    ]
    assert [layer.GraphicLayerDescription for layer in layers[:2]] == ["Brain", "Läsion"]
    assert list(layers[0].GraphicLayerRecommendedDisplayCIELabValue) == [
        round(0.6 * 65535),
        *(round((value + 128) * 257) for value in (40, 30)),
    ]


def test_only_images_with_lines_are_referred_to_and_each_bears_the_warning() -> None:
    """Slices 2 to 4 of six; the words are in the language of the profile."""
    source = source_series()
    dataset = state(rich(), source, language="de")
    (series,) = dataset.ReferencedSeriesSequence
    wanted = [image.SOPInstanceUID for image in source.datasets[1:4]]
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedImageSequence] == wanted
    warned = lines(dataset, "AI_WARNING")
    assert [item.ReferencedImageSequence[0].ReferencedSOPInstanceUID for item in warned] == wanted
    assert all("KI-ERGEBNIS" in item.TextObjectSequence[0].UnformattedTextValue for item in warned)


def test_grey_values_are_those_of_the_source() -> None:
    """One rescale and each image's own window."""
    source = source_series()
    for number, image in enumerate(source.datasets):
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "2", "-1000", "HU"
        image.WindowCenter, image.WindowWidth = ("40", "80") if number < 2 else ("50", "100")
    dataset = state(rich(), source)
    assert (dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType) == (2, -1000, "HU")
    windows = [
        (item.WindowCenter, item.WindowWidth, len(item.ReferencedImageSequence))
        for item in dataset.SoftcopyVOILUTSequence
    ]
    assert windows == [(40, 80, 1), (50, 100, 2)]


def test_several_rescales_become_windows_in_stored_values() -> None:
    """A presentation state has one rescale; where the images differ, the window says the same without any."""
    source = source_series()
    for number, image in enumerate(source.datasets):
        image.RescaleSlope, image.RescaleIntercept = str(number + 1), "10"
        image.WindowCenter, image.WindowWidth = "70", "120"
    dataset = state(rich(), source)
    assert "RescaleSlope" not in dataset
    assert [(item.WindowCenter, item.WindowWidth) for item in dataset.SoftcopyVOILUTSequence] == [
        (30, 60),
        (20, 40),
        (15, 30),
    ]


def test_nothing_found_has_no_lines() -> None:
    """Without an outline there is no presentation state."""
    nothing = Findings(ROLE, ALGORITHM, remarks=("No brain was found.",))
    assert not read(built(nothing, kinds=(ResultKind.PICTURE, ResultKind.PRESENTATION_STATE)), "PR")


def test_noise_is_not_outlined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask of more specks than anybody looks at has no presentation state; the other kinds are made without it."""
    source, checkered = source_series(), np.indices((6, 20, 24)).sum(axis=0) % 2 == 0
    found = findings(results_cases.segment(mask=checkered))
    run = run_context(profile=profile(kinds=(ResultKind.SEGMENTATION, ResultKind.PRESENTATION_STATE)))
    assert [each.kind for each in build(found, {ROLE: source}, run)] == ["SEG", "PR"]
    monkeypatch.setattr(presentation_state, "MOST_OUTLINES", int(checkered.sum()) - 1)
    objects = build(found, {ROLE: source}, run)
    check(objects, {ROLE: source})
    assert [each.kind for each in objects] == ["SEG"]
