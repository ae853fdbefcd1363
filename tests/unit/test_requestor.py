"""PDUs and command sets of our own requestor, held against pynetdicom's, and against files as others write them."""

import os
import struct
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import decode as decode_data_set
from pynetdicom.dsutils import split_dataset
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.presentation import build_context

from dicom_node import IMPLEMENTATION_CLASS_UID
from dicom_node.requestor import opened
from dicom_node.requestor.acse import MalformedPdu, Proposed, agreed, associate_rq, rejection
from dicom_node.requestor.dimse import Command, c_store_rq, status_of
from dicom_node.requestor.framing import Framer, command_fragments
from dicom_node.requestor.part10 import StoredFile

_PROPOSED = (
    Proposed(str(MRImageStorage), (str(ExplicitVRLittleEndian),)),
    Proposed(str(SegmentationStorage), ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),
)


def test_a_request_says_what_is_proposed() -> None:
    """pynetdicom reads our A-ASSOCIATE-RQ as we mean it (PS3.8 9.3.2)."""
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(associate_rq("US", "THEM", _PROPOSED, 131072))
    request = pdu.to_primitive()
    assert (request.calling_ae_title, request.called_ae_title) == ("US", "THEM")
    contexts = request.presentation_context_definition_list
    assert [(each.context_id, each.abstract_syntax) for each in contexts] == [
        (1, MRImageStorage),
        (3, SegmentationStorage),
    ]
    assert [len(each.transfer_syntax) for each in contexts] == [1, 2]
    assert request.maximum_length_received == 131072
    assert request.implementation_class_uid == IMPLEMENTATION_CLASS_UID


def _acceptance(results: list[int], maximum: int = 16384) -> bytes:
    answer = A_ASSOCIATE()
    answer.application_context_name = "1.2.840.10008.3.1.1.1"
    answer.calling_ae_title, answer.called_ae_title, answer.result = "US", "THEM", 0
    contexts = []
    for number, (proposed, result) in enumerate(zip(_PROPOSED, results, strict=False)):
        context = build_context(proposed.sop_class_uid, proposed.transfer_syntax_uids[0])
        context.context_id, context.result = 2 * number + 1, result
        contexts.append(context)
    answer.presentation_context_definition_results_list = contexts
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum
    answer.user_information = [length]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    return bytes(pdu.encode())[6:]


def test_an_acceptance_is_understood() -> None:
    """Contexts by SOP class and transfer syntax, refusals with their reason, the PDU size (PS3.8 9.3.3)."""
    answer = agreed(_acceptance([0, 3]), _PROPOSED)
    assert answer.accepted == {(MRImageStorage, ExplicitVRLittleEndian): 1}
    assert answer.refused == ((SegmentationStorage, 3),)
    assert answer.maximum_length == 16384


def test_a_context_without_an_answer_is_not_accepted() -> None:
    """Nothing is sent under a context that the peer has passed over."""
    answer = agreed(_acceptance([0]), _PROPOSED)
    assert [uid for uid, _ in answer.refused] == [SegmentationStorage]


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_damaged_acceptance_is_refused(cut: int) -> None:
    """Whatever is cut off: MalformedPdu, or an answer that accepts no more than was said."""
    whole = _acceptance([0, 0])
    try:
        answer = agreed(whole[:-cut], _PROPOSED)
    except MalformedPdu:
        return
    assert set(answer.accepted) <= set(agreed(whole, _PROPOSED).accepted)


def test_a_rejection_of_the_wrong_length() -> None:
    """PS3.8 9.3.4: four bytes."""
    assert rejection(b"\0\1\2\3") == (1, 2, 3)
    with pytest.raises(MalformedPdu):
        rejection(b"\0\1\2")


def _file(path: Path, size: int = 1000) -> Path:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, "1.2.3"
    image.PixelData = os.urandom(size)
    image["PixelData"].VR = "OB"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("maximum", [0, 64, 128, 16384, 131072])
@pytest.mark.parametrize("size", [0, 2, 57, 58, 10_000, 300_000])
def test_a_message_is_what_pynetdicom_reads(tmp_path: Path, maximum: int, size: int) -> None:
    """Command and data set arrive whole, in PDUs that are no longer than the peer takes (PS3.8 9.3.5, Annex E)."""
    data = os.urandom(size)
    path = tmp_path / "data"
    path.write_bytes(b"before" + data)
    with path.open("rb") as file:
        stored = StoredFile(file.fileno(), 6, size)
        request = c_store_rq(7, str(MRImageStorage), "1.2.3.4")
        sent = b"".join(bytes(window) for window in Framer(maximum, 65536).message(5, request, stored))
    message = C_STORE_RQ()
    found = b""
    command = b""
    at = 0
    while at < len(sent):
        length = int.from_bytes(sent[at + 2 : at + 6], "big")
        assert not maximum or length <= maximum
        pdu = P_DATA_TF()
        pdu.decode(sent[at : at + 6 + length])
        for value in pdu.presentation_data_value_items:
            assert value.presentation_context_id == 5
            control, piece = value.presentation_data_value[0], value.presentation_data_value[1:]
            command, found = (command + piece, found) if control & 1 else (command, found + piece)
            last = control & 2
        at += 6 + length
    assert found == data
    assert last
    message.command_set = decode_data_set(BytesIO(command), is_implicit_vr=True, is_little_endian=True)
    assert (message.command_set.MessageID, message.command_set.CommandField) == (7, 1)
    assert message.command_set.AffectedSOPInstanceUID == "1.2.3.4"
    assert message.command_set.CommandGroupLength == len(command) - 12


def test_a_file_that_became_shorter_is_not_sent_to_its_end(tmp_path: Path) -> None:
    """Bytes of another object never fill the gap: the buffer is used again."""
    path = tmp_path / "data"
    path.write_bytes(bytes(100))
    with path.open("rb") as file, pytest.raises(OSError, match="shorter"):
        list(Framer(16384).message(1, b"command", StoredFile(file.fileno(), 0, 101)))


def _answer(field: int = 0x8001, message_id: int = 7, status: int | None = 0xA700) -> bytes:
    values = {0x0100: field, 0x0120: message_id, 0x0800: 0x0101} | ({} if status is None else {0x0900: status})
    return b"".join(struct.pack("<HHIH", 0, number, 2, value) for number, value in values.items())


def test_only_the_answer_to_the_request_is_one() -> None:
    """A status counts only in the response to this message (PS3.7 9.3.1.2)."""
    assert status_of(_answer(), Command.C_STORE_RQ, 7) == 0xA700
    for wrong in (_answer(field=0x8030), _answer(field=1), _answer(message_id=8), _answer(status=None), b"", b"\0\0"):
        with pytest.raises(MalformedPdu):
            status_of(wrong, Command.C_STORE_RQ, 7)


def test_a_data_set_in_an_answer_is_a_fault() -> None:
    """Nobody sends an SCU of C-STORE a data set; a PDV that is longer than its PDU is one, too."""
    good = Framer(0).command(1, b"1234")[6:]
    assert list(command_fragments(good)) == [(b"1234", True)]
    for wrong in (good[:-1], b"\0\0\0\6\1\2" + b"1234", b"\0\0\0\1\1\3", good + b"\0"):
        with pytest.raises(MalformedPdu):
            list(command_fragments(wrong))


def test_where_a_data_set_begins(tmp_path: Path) -> None:
    """File Meta Information ends where pydicom says, and what is no DICOM file is none."""
    path = _file(tmp_path / "a.dcm")
    with opened(path) as file:
        assert file.offset == split_dataset(path)[1]
        assert file.offset + file.size == path.stat().st_size
    (tmp_path / "b").write_bytes(b"x" * 500)
    with pytest.raises(ValueError, match="not a DICOM file"), opened(tmp_path / "b"):
        pass


def test_where_a_data_set_begins_without_group_length(tmp_path: Path) -> None:
    """Files of others may lack (0002,0000), or have a wrong one: the data set is found nevertheless."""
    path = _file(tmp_path / "a.dcm")
    whole = path.read_bytes()
    for number, changed in enumerate(
        (
            whole[:132] + whole[144:],
            whole[:140] + b"\xff\0\0\0" + whole[144:],
            whole[:140] + b"\1\0\0\0" + whole[144:],
        )
    ):
        other = tmp_path / f"{number}.dcm"
        other.write_bytes(changed)
        with opened(other) as file:
            assert other.read_bytes()[file.offset :] == whole[split_dataset(path)[1] :]
    assert dcmread(path).SOPInstanceUID == "1.2.3"
