"""The attributes of one instance that a rule can ask about: read fast, typed by value representation (PS3.5 6.2).

Left out: binary and tag value representations, long private values, pixel data, curves and overlays, the content tree
of structured reports, texts over 1024 characters. Most values are decoded here from pydicom's raw elements: a study
has tens of thousands of them, vendors' private blocks are large, and a poor value must not stop the others.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from functools import cache
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec
from pydicom import Dataset, dcmread
from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from dicom_node.entities import FactValue, Header
from dicom_node.errors import CannotUnderstand
from dicom_node.routing.codes import codes_of, is_code_sequence
from dicom_node.routing.private import PrivateBlocks

#: Longest text that is kept, in characters; longer ones are reports, not facts to route by.
LONGEST_TEXT: Final = 1024
#: A deflated data set that expands further than this, in bytes, is not read.
LONGEST_INFLATED: Final = 2**28
_A_PIECE: Final = 2**20
#: Preamble, prefix and the group length element (PS3.10 7.1).
_META_START: Final = 144
#: Longest raw value that is looked at, in bytes; larger ones are not even read from disk.
_LONGEST_RAW: Final = 16384
_DEEPEST: Final = 6  # nested sequences
_CONTENT_SEQUENCE: Final = 0x0040A730
_PICTURES: Final = frozenset({0x50, 0x60, 0x7F})  # high bytes of the groups of curves, overlays and pixel data
_ESCAPE: Final = 0x1B  # starts a switch of character set (PS3.5 6.1.2.5)
_SHARED: Final = "SharedFunctionalGroupsSequence"
_PER_FRAME: Final = "PerFrameFunctionalGroupsSequence"

_TEXT: Final = frozenset({"AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_ONE_TEXT: Final = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is a character of these (PS3.5 6.4)
_STRUCTS: Final = {"FD": "d", "FL": "f", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q"}
_AGE_IN_YEARS: Final = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}
#: Whole numbers beyond 64 bits are kept as they were written: nothing could compute with them.
_COUNTABLE: Final = range(-(2**63), 2**64)
#: Value representations that a rule can compare, and whether their values are numbers.
IS_NUMBER: Final[Mapping[str, bool]] = {
    **dict.fromkeys(_TEXT, False),
    **dict.fromkeys((*_STRUCTS, "AS", "DS", "IS", "US or SS"), True),
}

#: Attributes that Enhanced MR renames (PS3.3 C.8.13): there -> in a classic MR image (PS3.3 C.8.3).
_CLASSIC_NAMES: Final = {"EffectiveEchoTime": "EchoTime", "InversionTimes": "InversionTime"}
#: Enhanced MR's pulse sequence flags as the Scanning Sequence (0018,0020) of a classic MR image.
_SCANNING_SEQUENCE: Final = {
    ("EchoPulseSequence", "SPIN"): ("SE",),
    ("EchoPulseSequence", "GRADIENT"): ("GR",),
    ("EchoPulseSequence", "BOTH"): ("GR", "SE"),
    ("InversionRecovery", "YES"): ("IR",),
    ("EchoPlanarPulseSequence", "YES"): ("EP",),
}
#: Vectors (PS3.3 C.7.6.2): kept in full and in order, one after the other, as they mean nothing when sorted apart.
VECTORS: Final = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6}

_DECODER: Final = msgspec.json.Decoder(dict[str, tuple[FactValue, ...]])
_Values = dict[str, dict[FactValue, None]]  # keyword path -> distinct values in order
_Vectors = dict[str, dict[tuple[FactValue, ...], None]]


def read_header(path: Path) -> Header:
    """Return the facts of the instance in a DICOM file (PS3.10), without reading pixel data.

    Raises
    ------
    CannotUnderstand
        If it is not a DICOM file, or a deflated one that expands beyond all measure.
    """
    try:
        _check_expansion(path)
        return header_of(dcmread(path, stop_before_pixels=True, defer_size=_LONGEST_RAW))
    except (InvalidDicomError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise CannotUnderstand(f"{path} is not a DICOM file that can be read; remove it from the folder") from error


def _check_expansion(path: Path) -> None:
    """Refuse a deflated file that pydicom, which inflates it as a whole, would fill the memory with (PS3.5 A.5)."""
    meta = read_file_meta_info(path)
    if "Deflate" not in meta.get("TransferSyntaxUID", UID("")).name:
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = 0
    with path.open("rb") as file:
        file.seek(_META_START + int(meta.get("FileMetaInformationGroupLength", 0)))
        while packed := inflate.unconsumed_tail or file.read(_A_PIECE):
            inflated += len(inflate.decompress(packed, _A_PIECE))
            if inflated > LONGEST_INFLATED:
                raise CannotUnderstand(f"{path} expands to more than {LONGEST_INFLATED >> 20} MiB")


def header_of(dataset: Dataset) -> Header:
    """Return the facts of an instance: dotted keyword path to its distinct values, in the data set's order.

    Attributes of the functional groups of an Enhanced image also stand under their plain keyword, and a few also
    under the name that a classic MR image gives them, so that one rule serves both.
    """
    reader = _Reader(dataset)
    reader.collect(dataset, "", 0)
    header: dict[str, tuple[FactValue, ...]] = {path: tuple(values) for path, values in reader.values.items()}
    header.update({path: tuple(chain.from_iterable(vectors)) for path, vectors in reader.vectors.items()})
    if f"{_SHARED}." in reader.groups or f"{_PER_FRAME}." in reader.groups:
        _add_plain_names(header)
    return header


def header_to_json(header: Header) -> str:
    """Return a header as JSON text, for the ledger."""
    return json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def header_from_json(text: str) -> Header:
    """Return the header that `header_to_json` wrote."""
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:  # a number that no computer counts to
        return {path: tuple(values) for path, values in json.loads(text).items()}


class _Reader:
    """Collects the values of one data set."""

    def __init__(self, dataset: Dataset) -> None:
        self.values: _Values = {}
        self.vectors: _Vectors = {}
        self.groups: set[str] = set()  # prefixes of the sequences met
        self._encodings: list[str] | None = None
        self._dataset = dataset
        self._signed = dataset.get("PixelRepresentation") == 1

    def collect(self, dataset: Dataset, prefix: str, depth: int) -> None:
        """Add every attribute of a data set or sequence item."""
        private = PrivateBlocks()
        for tag, element in dataset.items():
            number = int(tag)
            if number & 0x10000:
                known = private.named(number, element)
                if known is not None and known[1] in IS_NUMBER:
                    self._add(prefix, known[0], self._decoded(element, known[1]))
                continue
            keyword, standard_vr = _entry(number)
            if not keyword:
                continue
            vr = standard_vr if element.VR in (None, "UN") else element.VR  # UN: the sender did not know it
            if vr == "SQ":
                if depth < _DEEPEST and number != _CONTENT_SEQUENCE:
                    self._sequence(dataset, tag, keyword, f"{prefix}{keyword}.", depth)
            elif vr in IS_NUMBER:
                self._add(prefix, keyword, self._decoded(element, vr))

    def _sequence(self, dataset: Dataset, tag: Any, keyword: str, prefix: str, depth: int) -> None:
        self.groups.add(prefix)
        try:
            items = dataset[tag].value
            for item in items:
                self.collect(item, prefix, depth + 1)
            if is_code_sequence(keyword):
                self._add(prefix.removesuffix("."), "", tuple(codes_of(iter(items))))
        except (ValueError, TypeError, KeyError, EOFError, OSError, NotImplementedError, struct.error):
            return  # a sequence that cannot be read holds no facts

    def _add(self, prefix: str, keyword: str, values: tuple[FactValue, ...]) -> None:
        if not values:
            return  # an empty attribute is a missing one
        if keyword in VECTORS:
            self.vectors.setdefault(prefix + keyword, {})[values] = None
            return
        known = self.values.setdefault(prefix + keyword, {})
        for value in values:
            known[value] = None

    def _decoded(self, element: DataElement | RawDataElement, vr: str) -> tuple[FactValue, ...]:
        if not isinstance(element, RawDataElement):
            return _from_python(element.value, vr)
        raw = element.value
        if not isinstance(raw, bytes) or not raw or len(raw) > _LONGEST_RAW:
            return ()
        if vr == "US or SS":
            vr = "SS" if self._signed else "US"
        if vr in _STRUCTS:
            return _from_binary(raw, _STRUCTS[vr], little_endian=element.is_little_endian)
        return _from_text(raw.decode("ascii") if raw.isascii() and _ESCAPE not in raw else self._text(raw), vr)

    def _text(self, raw: bytes) -> str:
        """Return a text that needs the Specific Character Set (PS3.3 C.12.1.1.2)."""
        if self._encodings is None:
            self._encodings = list(_encodings(self._dataset))
        try:
            return decode_bytes(raw, self._encodings, set(b"\r\n\t\f"))
        except (LookupError, UnicodeError, UserWarning):
            return raw.decode("latin-1")


@cache
def _entry(tag: int) -> tuple[str, str]:
    """Return the keyword and value representation of a standard attribute (PS3.6); blank if it is no fact."""
    if tag >> 24 in _PICTURES or not tag & 0xFFFF or not dictionary_has_tag(tag):
        return "", ""
    return dictionary_keyword(tag), dictionary_VR(tag)


def _encodings(dataset: Dataset) -> Iterator[str]:
    terms = dataset.get("SpecificCharacterSet") or ""
    for term in [terms] if isinstance(terms, str) else terms:
        yield python_encoding.get(term.strip(), "latin-1")


def _from_binary(raw: bytes, code: str, *, little_endian: bool) -> tuple[FactValue, ...]:
    order = "<" if little_endian else ">"
    count = len(raw) // struct.calcsize(f"{order}{code}")
    values = struct.unpack_from(f"{order}{count}{code}", raw)
    return tuple(value for value in values if isfinite(value))


def _from_text(text: str, vr: str) -> tuple[FactValue, ...]:
    parts = [text] if vr in _ONE_TEXT else text.split("\\")
    typed = _PARSERS.get(vr, _plain)
    return tuple(typed(part) for raw in parts if 0 < len(part := raw.strip(" \0")) <= LONGEST_TEXT)


def _from_python(value: Any, vr: str) -> tuple[FactValue, ...]:
    """Return the values of an element that was set in Python or already converted."""
    if value is None or value == "":
        return ()
    several = isinstance(value, MutableSequence | tuple)
    values = list(value) if several else [value]
    if vr in _STRUCTS or vr == "US or SS":
        return tuple(number for number in values if isinstance(number, int | float) and is_number(number))
    return tuple(typed for part in values for typed in _from_text(_python_text(part), vr))


def _python_text(value: Any) -> str:
    original = getattr(value, "original_string", None)  # IS and DS keep what was written
    return original if isinstance(original, str) else _written(value)


def _plain(text: str) -> FactValue:
    return text


def _written(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # a whole number of more digits than Python writes
        return ""


def is_number(value: float) -> bool:
    """Return whether a number can be computed with, and kept."""
    return value in _COUNTABLE if isinstance(value, int) else isfinite(value)


def told_number(value: FactValue) -> FactValue:
    """Return a value as facts may have it: what cannot be computed with as text, blank if there is none."""
    if isinstance(value, str) or is_number(value):
        return value
    return _written(value) if isinstance(value, int) else ""


def _whole(text: str) -> FactValue:
    try:
        value = int(text)
    except ValueError:
        return _decimal(text)
    return value if value in _COUNTABLE else text


def _decimal(text: str) -> FactValue:
    try:
        value = float(text)
    except ValueError:
        return text  # seen as it is, so that an explanation can show it
    return value if isfinite(value) else text


def years(text: str) -> FactValue:
    """Return an age (PS3.5 6.2, VR AS: nnnD, nnnW, nnnM, nnnY) in years."""
    number, unit = text[:-1], text[-1:].upper()
    if unit in _AGE_IN_YEARS and number.isascii() and number.isdigit():
        age = round(float(number) / _AGE_IN_YEARS[unit], 3)
        return age if isfinite(age) else text
    return text


_PARSERS: Final[Mapping[str, Callable[[str], FactValue]]] = {"IS": _whole, "DS": _decimal, "AS": years}


def _add_plain_names(header: dict[str, tuple[FactValue, ...]]) -> None:
    """Add the attributes of the functional group macros (PS3.3 C.7.6.16) under their plain keywords."""
    top = {path for path in header if "." not in path}
    plain: dict[str, tuple[FactValue, ...]] = {}
    for path, values in header.items():
        group, _, rest = path.partition(".")
        macro, _, keyword = rest.partition(".")
        if group not in (_SHARED, _PER_FRAME) or not macro or not keyword or "." in keyword or keyword in top:
            continue
        plain[keyword] = _joined(keyword, plain.get(keyword, ()), values)
    header.update(plain)
    for enhanced, classic in _CLASSIC_NAMES.items():
        if enhanced in header:
            header.setdefault(classic, header[enhanced])
    flags = (name for (keyword, term), name in _SCANNING_SEQUENCE.items() if term in header.get(keyword, ()))
    if names := tuple(dict.fromkeys(chain.from_iterable(flags))):
        header.setdefault("ScanningSequence", names)


def _joined(keyword: str, first: tuple[FactValue, ...], second: tuple[FactValue, ...]) -> tuple[FactValue, ...]:
    return first + second if keyword in VECTORS else tuple(dict.fromkeys(first + second))
