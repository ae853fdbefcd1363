"""STOW-RS without a network: bodies, answers in JSON and XML, and what each status means (PS3.18 10.5)."""

import json
import time
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import pytest

from dicom_node.dicom_web import statuses
from dicom_node.dicom_web.multipart import Body, SourceLost, TooSlow
from dicom_node.dicom_web.response import Told, told
from dicom_node.dicom_web.web import Answer, named, same_server
from dicom_node.outgoing import OutgoingObject, Verdict
from dicom_node.pace import Pace

_NOW = 1_700_000_000.0


def _item(uid: str = "1.2.3", path: Path = Path("x")) -> OutgoingObject:
    return OutgoingObject(path, "1.2.840.10008.5.1.4.1.1.4", uid, "1.2.840.10008.1.2.1")


def _reference(uid: str, **reason: int) -> dict[str, object]:
    tags = {"warning": "00081196", "failure": "00081197"}
    return {"00081155": {"vr": "UI", "Value": [uid]}} | {
        tags[name]: {"vr": "US", "Value": [value]} for name, value in reason.items()
    }


def _json(stored: list[object], failed: list[object]) -> bytes:
    return json.dumps({"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}}).encode()


_BOTH = Told({"1": None, "2": 0xB000}, {"3": 0xA900, "4": None})
_XML = """<?xml version="1.0" encoding="utf-8"?>
<NativeDicomModel{namespace}>
 <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence">
  <Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">3</Value></DicomAttribute>
   <DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute></Item>
  <Item number="2"><DicomAttribute tag="00081155" vr="UI"><Value number="1">4</Value></DicomAttribute></Item>
 </DicomAttribute>
 <DicomAttribute tag="00081199" vr="SQ">
  <Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1</Value></DicomAttribute></Item>
  <Item number="2"><DicomAttribute tag="00081155" vr="UI"><Value number="1">2</Value></DicomAttribute>
   <DicomAttribute tag="00081196" vr="US"><Value number="1">45056</Value></DicomAttribute></Item>
 </DicomAttribute>
</NativeDicomModel>"""


@pytest.mark.parametrize(
    "body",
    [
        _json([_reference("1"), _reference("2", warning=0xB000)], [_reference("3", failure=0xA900), _reference("4")]),
        b"["
        + _json(
            [_reference("1"), _reference("2", warning=0xB000)], [_reference("3", failure=0xA900), _reference("4")]
        )
        + b"]",
        _XML.format(namespace="").encode(),
        _XML.format(namespace=' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"').encode(),
    ],
    ids=["JSON", "JSON in a list", "XML", "XML with namespace"],
)
def test_every_form_of_an_answer_is_understood(body: bytes) -> None:
    """DICOM JSON (PS3.18 Annex F) and the Native DICOM Model (PS3.19 A.1) say the same."""
    assert told(body) == _BOTH


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"stored!",
        b"<html><body>Please log in</body></html>",
        b"<broken",
        b"[]",
        b"[" * 100_000,
        b'{"00081199": 3}',
        b'{"00081199": {"Value": "1.2.3"}}',
        b'{"00081199": {"Value": [{"00081155": {"vr": "UI"}}]}}',
        b'<!DOCTYPE x [<!ENTITY a "1">]><NativeDicomModel/>',
        "\u2603".encode("utf-16"),
        b'<?xml version="1.0" encoding="none-such"?><NativeDicomModel/>',
        '<!DOCTYPE x [<!ENTITY a "1">]><NativeDicomModel/>'.encode("utf-16-le"),
    ],
)
def test_what_is_no_answer_says_nothing(body: bytes) -> None:
    """Nothing counts as stored because of a text that nobody understands, and nothing breaks."""
    assert told(body) == Told()


def _answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("uid", "verdict", "status", "words"),
    [
        ("1", Verdict.ACCEPTED, 0, "stored"),
        ("2", Verdict.ACCEPTED, 0xB000, "data elements changed"),
        ("3", Verdict.PERMANENT, 0xA900, "does not match its SOP class"),
        ("4", Verdict.PERMANENT, None, "without a reason"),
        ("5", Verdict.TEMPORARY, None, "says nothing of this object"),
    ],
)
@pytest.mark.parametrize("http", [200, 201, 202, 409])
def test_the_word_on_an_instance_counts_more_than_the_status(
    http: int, uid: str, verdict: Verdict, status: int | None, words: str
) -> None:
    """200, 202 and 409 differ in what they say of all; of one instance its reference speaks (PS3.18 10.5.3)."""
    outcome = statuses.outcome(_item(uid), "PACS", _answer(http), _BOTH)
    assert (outcome.verdict, outcome.status) == (verdict, status)
    assert words in outcome.reason


@pytest.mark.parametrize(
    ("status", "verdict", "words"),
    [
        (200, Verdict.TEMPORARY, "is url its STOW-RS endpoint"),  # a page to log in, not a success
        (201, Verdict.TEMPORARY, "is url its STOW-RS endpoint"),
        (204, Verdict.TEMPORARY, "STOW-RS endpoint"),
        (302, Verdict.TEMPORARY, "correct url"),
        (400, Verdict.PERMANENT, "cannot understand"),
        (401, Verdict.TEMPORARY, "[destination.auth]"),
        (403, Verdict.TEMPORARY, "allow it"),
        (404, Verdict.TEMPORARY, "nothing at url"),
        (409, Verdict.PERMANENT, "without saying why"),
        (413, Verdict.PERMANENT, "raise the limit"),
        (415, Verdict.PERMANENT, "application/dicom"),
        (418, Verdict.PERMANENT, "refused"),
        (429, Verdict.TEMPORARY, "too often"),
        (500, Verdict.TEMPORARY, "failed"),
        (503, Verdict.TEMPORARY, "busy"),
    ],
)
def test_every_status_says_what_to_change(status: int, verdict: Verdict, words: str) -> None:
    """What a person has to mend elsewhere is tried again by itself; what is wrong with the object is held."""
    outcome = statuses.outcome(_item(), "PACS", _answer(status), Told())
    assert outcome.verdict is verdict
    assert outcome.reason.startswith(f"PACS answered HTTP {status}: ")
    assert words in outcome.reason


def test_a_failure_that_says_success_is_none() -> None:
    """A server that lists an instance as failed with reason 0 has not stored it; with 0x0111 it has it."""
    assert statuses.outcome(_item("1"), "P", _answer(200), Told({}, {"1": 0})).verdict is Verdict.PERMANENT
    assert statuses.outcome(_item("1"), "P", _answer(409), Told({}, {"1": 0x0111})).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (503, "120", 120),
        (429, " 7 ", 7),
        (503, "Tue, 14 Nov 2023 22:14:20 GMT", 60),
        (503, "Tue, 14 Nov 2023 22:13:10 GMT", 0),
        (503, "999999999", 86400),
        (503, "soon", 0),
        (503, "Tue, 14 Nov 99999999999999999999 22:14:20 GMT", 0),
        (503, "Fri, 31 Dec 9999 23:59:59 -2359", 86400),
        (503, "-5", 0),
        (200, "120", 0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(status: int, header: str, seconds: float) -> None:
    """Retry-After in seconds or as a date (RFC 9110 10.2.3), at most a day, and only where it means something."""
    assert statuses.pause(_answer(status, retry_after=header), _NOW) == pytest.approx(seconds)


def _stored(folder: Path, count: int = 3) -> list[tuple[OutgoingObject, int]]:
    files = []
    for number in range(count):
        path = folder / f"{number}.dcm"
        path.write_bytes(bytes([number]) * (1000 + number))
        files.append((_item(f"1.{number}", path), 1000 + number))
    return files


def test_a_body_is_multipart_related(tmp_path: Path) -> None:
    """Each file is a part of its own, bytes unchanged; the length is known beforehand (PS3.18 8.6.1.2, RFC 2387)."""
    files = _stored(tmp_path)
    body = Body(files, Pace(0), time.monotonic() + 60)
    sent = b"".join(body)
    assert len(sent) == body.length
    head = f"Content-Type: {body.content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + sent)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["application/dicom"] * 3
    pieces = sent.split(f"--{message.get_boundary()}".encode())
    assert [piece.partition(b"\r\n\r\n")[2][:-2] for piece in pieces[1:-1]] == [
        item.path.read_bytes() for item, _ in files
    ]


def test_no_file_is_held_in_memory(tmp_path: Path) -> None:
    """A body comes in pieces of at most 256 KiB, whatever the size of a file."""
    path = tmp_path / "big"
    path.write_bytes(bytes(3 * 2**20))
    assert max(len(piece) for piece in Body([(_item(path=path), 3 * 2**20)], Pace(0), time.monotonic() + 60)) == 2**18


@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_file_that_changes_meanwhile_breaks_the_request_off(tmp_path: Path, change: str) -> None:
    """A body that would not have the announced length, or not the stored bytes, is not finished."""
    files = _stored(tmp_path)
    path = files[1][0].path
    body = iter(Body(files, Pace(0), time.monotonic() + 60))
    next(body)
    {"longer": lambda: path.write_bytes(bytes(2000)), "shorter": lambda: path.write_bytes(b""), "gone": path.unlink}[
        change
    ]()
    with pytest.raises(SourceLost):
        list(body)


def test_a_body_has_a_deadline(tmp_path: Path) -> None:
    """A server that takes a byte now and then does not hold the thread for ever."""
    with pytest.raises(TooSlow):
        list(Body(_stored(tmp_path), Pace(0), time.monotonic() - 1))


@pytest.mark.parametrize(
    ("status", "location", "target"),
    [
        (307, "/new/studies", "https://h/new/studies"),
        (308, "https://h/x", "https://h/x"),
        (308, "https://H/x", "https://H/x"),
        (307, "https://other/x", None),
        (307, "http://h/x", None),
        (307, "https://h:8443/x", None),
        (307, "//other/x", None),
        (302, "/new", None),
        (307, "", None),
        (307, "http://[", None),
        (200, "/new", None),
    ],
)
def test_only_the_same_server_may_move_a_request(status: int, location: str, target: str | None) -> None:
    """Objects and passwords go to no server that is not in the settings; 301 to 303 would lose the body."""
    assert same_server(_answer(status, location=location), "https://h/studies") == target


def test_what_is_shown_of_an_address() -> None:
    """A query may hold a key."""
    assert named("https://h:8443/dicom/studies?key=geheim") == "https://h:8443/dicom/studies"
