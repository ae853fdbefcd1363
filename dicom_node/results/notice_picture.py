"""A picture that says that there is no result (PS3.3 A.8.1, Secondary Capture), for a PACS that shows no report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.results.lettering import font, wrapped
from dicom_node.results.not_run import NotRun
from dicom_node.results.objects import BuiltObject
from dicom_node.results.provenance import copy_elements, new_object, own_text, series_description, series_number
from dicom_node.results.source_images import image_reference, series_reference
from dicom_node.settings import Language, ResultKind

_KIND: Final = ResultKind.PICTURE
#: Heading and sentence by language; the reason itself comes in the words of whoever refused.
_WORDS: Final[Mapping[Language, tuple[str, str]]] = {
    "en": ("AI DID NOT RUN", "{title} did not run: {reason}"),
    "de": ("KI NICHT AUSGEFÜHRT", "{title} wurde nicht ausgeführt: {reason}"),
}
_SIDE: Final = 512  # pixels; a long reason makes the picture higher
_MARGIN: Final = 24
_LARGE, _PLAIN = 40, 20  # pixels of a letter
_YELLOW: Final = (255, 215, 80)
_WHITE: Final = (255, 255, 255)
_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int
    colour: tuple[int, int, int]


def build_notice_picture(not_run: NotRun) -> tuple[BuiltObject, ...]:
    """Return the picture, in a series of its own."""
    run, source = not_run.run, not_run.headers[not_run.role]
    image = source.datasets[0]
    dataset = new_object(_KIND, SecondaryCaptureImageStorage, image, run, not_run.algorithm)
    taken = frozenset(
        int(each.datasets[0].SeriesNumber)
        for each in not_run.headers.values()
        if each.datasets[0].get("SeriesNumber")
    )
    dataset.SeriesNumber = series_number(_KIND, run, taken)
    dataset.SeriesDescription = series_description(_KIND, run, not_run.algorithm, dataset, "did not run")
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality"))
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = None
    dataset.BurnedInAnnotation = "YES"
    dataset.ImageComments = own_text(not_run.sentence, dataset)
    # what is about images refers to them (C.7.6.1.4), and says of which series they are (C.12.2)
    dataset.ReferencedImageSequence = [image_reference(each) for each in source.datasets]
    dataset.ReferencedSeriesSequence = [series_reference(source.datasets, "ReferencedInstanceSequence")]
    _add_pixels(dataset, _drawn(_lines(not_run)))
    return (BuiltObject(_KIND, dataset),)


def _lines(not_run: NotRun) -> Iterator[_Line]:
    heading, sentence = _WORDS[not_run.run.profile.language or "en"]
    yield _Line(heading, _LARGE, _YELLOW)
    yield from _wrapped(sentence.format(title=not_run.run.pipeline_title, reason=not_run.reason), _WHITE)
    yield from _wrapped(not_run.run.notice, _YELLOW)


def _wrapped(text: str, colour: tuple[int, int, int]) -> Iterator[_Line]:
    """Return a text in lines that fit the picture, an empty one before them."""
    if not text:
        return
    yield _Line("", _PLAIN, colour)
    yield from (_Line(line, _PLAIN, colour) for line in wrapped(text, font(_PLAIN), _SIDE - 2 * _MARGIN))


def _drawn(lines: Iterator[_Line]) -> Image.Image:
    placed, y = [], _MARGIN
    for line in lines:
        placed.append((y, line))
        y += round(1.3 * line.size)
    picture = Image.new("RGB", (_SIDE, max(_SIDE, y + _MARGIN)))
    draw = ImageDraw.Draw(picture)
    for top, line in placed:
        draw.text((_MARGIN, top), line.text, fill=line.colour, font=font(line.size))
    return picture


def _add_pixels(dataset: Dataset, picture: Image.Image) -> None:
    """Add Image Pixel (PS3.3 C.7.6.3): RGB, colour by pixel."""
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Columns, dataset.Rows = picture.size
    dataset.BitsAllocated = dataset.BitsStored = _BITS
    dataset.HighBit = _BITS - 1
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    pixels = picture.tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"
