"""What the gate looks at in a document: a whole PDF that any reader opens and that can do nothing but be read."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydicom.uid import EncapsulatedPDFStorage

from dicom_node.results.gate_case import Case, Check, items, other_than
from dicom_node.results.gate_references import astray

#: Whatever acts when it is opened (ISO 32000-1, 12.6).
_ACTIVE: Final = (b"/JavaScript", b"/JS", b"/Launch", b"/OpenAction", b"/EmbeddedFile", b"/URI")
_STREAM: Final = re.compile(rb"stream\r?\n.*?endstream", re.DOTALL)
_START, _END = b"%PDF-", b"%%EOF"


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.24.2: a PDF that says that it bears the patient's name, and that nobody has verified it."""
    wanted = {
        "SOPClassUID": EncapsulatedPDFStorage,
        "MIMETypeOfEncapsulatedDocument": "application/pdf",
        "BurnedInAnnotation": "YES",
        "VerificationFlag": "UNVERIFIED",
        "ConversionType": "WSD",
    }
    yield from other_than(case.dataset, wanted)
    if not str(case.dataset.get("DocumentTitle") or "").strip():
        yield "DocumentTitle is empty"


def _length(case: Case) -> Iterator[str]:
    """PS3.3 C.24.2: the document's own length, and at most one zero that makes it even (PS3.5 8.2, VR OB)."""
    content, length = case.dataset.EncapsulatedDocument, int(case.dataset.EncapsulatedDocumentLength)
    if len(content) != length + length % 2 or content[length:].strip(b"\0"):
        yield f"the document has {len(content)} bytes, EncapsulatedDocumentLength is {length}"


def _content(case: Case) -> Iterator[str]:
    content = case.dataset.EncapsulatedDocument[: int(case.dataset.EncapsulatedDocumentLength)]
    if not content.startswith(_START) or not content.rstrip().endswith(_END):
        yield "the document is no whole PDF"
    structure = _STREAM.sub(b"", content)  # what streams hold is drawn, and compressed: chance may spell a word there
    if b"/FontFile2" not in structure:
        yield "the document has no embedded font"
    if found := [word.decode() for word in _ACTIVE if re.search(re.escape(word) + rb"\b", structure)]:
        yield f"the document can act ({', '.join(found)})"


def _sources(case: Case) -> Iterator[str]:
    """PS3.3 C.24.2: Source Instance Sequence names every image that was analysed, and no other."""
    yield from astray(case, "SourceInstanceSequence")
    named = {str(item.ReferencedSOPInstanceUID) for item in items(case.dataset, "SourceInstanceSequence")}
    if named != {str(image.SOPInstanceUID) for image in case.source.datasets}:
        yield "SourceInstanceSequence does not name exactly the source images"


DOCUMENT_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "length": _length,
    "content": _content,
    "sources": _sources,
}
