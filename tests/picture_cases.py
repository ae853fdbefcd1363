"""Findings with something of everything that pictures, documents, selections and presentation states show."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pypdfium2
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, KeySlice, Location, Measurement, ReferenceRange
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check, encode
from dicom_node.settings import ResultKind
from tests.results_cases import ANATOMY, BRAIN, ROLE, VOLUME, findings, profile, run_context, segment, source_series

FINDING = Code("404684003", "SCT", "Clinical finding")
LESION = Code("52988006", "SCT", "Lesion")
GRADE = Code("246112005", "SCT", "Severity")
MILD = Code("255604002", "SCT", "Mild")
PER_CENT = Code("%", "UCUM", "percent")
SHARE = Code("118586006", "SCT", "Ratio")
#: The four kinds, and the SEG that they refer to.
KINDS = (
    ResultKind.SEGMENTATION,
    ResultKind.PICTURE,
    ResultKind.DOCUMENT,
    ResultKind.KEY_OBJECTS,
    ResultKind.PRESENTATION_STATE,
)


def spot(shape: tuple[int, int, int] = (6, 20, 24)) -> np.ndarray:
    """Return a small mask with a hole, on one slice that the blob is on too."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[2, 5:9, 7:12] = True
    mask[2, 6, 9] = False
    return mask


def rich(**changes: object) -> Findings:
    """Return findings with something of everything that is shown."""
    plain = findings(segment(), replace(segment("Läsion", spot()), colour_lab=(70.0, -60.0, 50.0)))
    values = {
        "measurements": (*plain.measurements, Measurement(SHARE, 3.14159, PER_CENT, "")),
        "ranges": (ReferenceRange(VOLUME, "Brain", 0.2, 0.25, "adults, 5th to 95th percentile (Doe 2026)"),),
        "classifications": (Classification(GRADE, MILD, 0.873, "Läsion"),),
        "locations": (Location("Spot", (3.0, 12.0, 4.0), FINDING, LESION, probability=0.5),),
        "remarks": ("Looks plausible.",),
    }
    return replace(plain, **(values | changes))


def built(found: Findings, source: SourceSeries | None = None, **changes: object) -> tuple[BuiltObject, ...]:
    """Build all kinds and pass the gate; changes are of the profile."""
    source = source or source_series()
    objects = build(found, {ROLE: source}, run_context(profile=profile(**({"kinds": KINDS} | changes))))
    check(objects, {ROLE: source})
    return objects


def read(objects: tuple[BuiltObject, ...], kind: str) -> list[Dataset]:
    """Return the data sets of one kind as they are read back from their files."""
    return [dcmread(BytesIO(encode(each))) for each in objects if each.kind == kind]


def pdf_of(dataset: Dataset) -> bytes:
    """Return the document without the byte that made its length even."""
    return dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]


def page_texts(content: bytes) -> list[str]:
    """Return the text of each page as PDFium, the reader of Chromium, extracts it; on one line each."""
    document = pypdfium2.PdfDocument(content)
    try:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    finally:
        document.close()


__all__ = ["ANATOMY", "BRAIN", "KINDS", "KeySlice", "built", "page_texts", "pdf_of", "read", "rich", "spot"]
