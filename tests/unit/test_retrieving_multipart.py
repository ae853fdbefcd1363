"""Bodies of WADO-RS taken apart: whatever the pieces are cut into, and whatever is wrong with them."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicom_web.parts import MultipartBroken, Parts, boundary_of
from dicom_node.errors import CannotUnderstand
from dicom_node.retrieving.part10 import arriving
from tests.study_cases import write_study


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _body(parts: list[bytes], preamble: bytes = b"") -> bytes:
    head = b"\r\nContent-Type: application/dicom\r\n\r\n"
    return preamble + b"--B" + b"\r\n--B".join(head + part for part in parts) + b"\r\n--B--\r\n"


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 70), st.booleans())
def test_parts_come_out_as_they_went_in(parts: list[bytes], size: int, preamble: bool) -> None:
    """However the body is cut; boundaries are found across pieces, and what resembles one stays."""
    parts = [part.replace(b"--B", b"--A") + b"\r\n--" for part in parts]
    body = _body(parts, b"ignore this\r\n" if preamble else b"")
    assert [b"".join(pieces) for pieces in Parts(_cut(body, size), b"B")] == parts


def test_a_part_that_nobody_reads_is_passed_over() -> None:
    """The next part is the next part."""
    found = iter(Parts(_cut(_body([b"one" * 99, b"two"]), 7), b"B"))
    next(found)
    assert b"".join(next(found)) == b"two"


@pytest.mark.parametrize("cut", [3, 30, 60, 90])
def test_a_body_that_ends_too_soon_is_told(cut: int) -> None:
    """A connection that closed in the middle is no short answer."""
    body = _body([b"x" * 50, b"y" * 50])
    with pytest.raises(MultipartBroken, match="ends in the middle"):
        [b"".join(pieces) for pieces in Parts(_cut(body[:cut], 10), b"B")]


def test_heads_without_end_are_told() -> None:
    """A part whose headers never end takes no memory for ever."""
    with pytest.raises(MultipartBroken, match="headers do not end"):
        list(Parts(_cut(b"--B\r\n" + b"x" * 200_000, 4096), b"B"))


@pytest.mark.parametrize("value", ["application/dicom+json", "multipart/related", "", "multipart/related; boundary="])
def test_what_is_no_multipart_is_told(value: str) -> None:
    """An error page is not taken for objects."""
    with pytest.raises(MultipartBroken, match="something else than"):
        boundary_of(value)


def test_the_boundary_is_read_quoted_or_not() -> None:
    """Both forms of RFC 2045."""
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert boundary_of("multipart/related; boundary=abc; type=application/dicom") == b"abc"


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_a_file_is_known_by_its_meta_information(tmp_path: Path, size: int) -> None:
    """What File Meta Information says, and every byte of the data set after it."""
    write_study(tmp_path, slices=1)
    data = (tmp_path / "0000.dcm").read_bytes()
    file = arriving(_cut(data, size))
    assert file.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    rest = b"".join(file.data)
    assert data.endswith(rest)
    assert BytesIO(rest).read(4) == b"\x08\x00\x05\x00"


@pytest.mark.parametrize(
    "data", [b"", b"x" * 500, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\2\0\0\0UL\4\0\xff\xff\xff\xff"]
)
def test_what_is_no_file_is_refused(data: bytes) -> None:
    """Bytes without File Meta Information are no object."""
    with pytest.raises(CannotUnderstand):
        arriving(iter([data]))
