"""Sending: bytes as stored, an outcome for every object, and words that tell an administrator what to do."""

import hashlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
)
from pynetdicom import build_context
from pynetdicom.dsutils import split_dataset
from pynetdicom.sop_class import Verification

from dicom_node.entities import Peer
from dicom_node.errors import PeerRefused, PeerUnreachable
from dicom_node.storage_scu import MEANINGS, StorageSCU, Verdict

SCU = StorageSCU("DICOM_NODE", 10)
QUICK = StorageSCU("DICOM_NODE", 1)


def _verdicts(outcomes: Any) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


def _data_set(path: Path) -> bytes:
    return path.read_bytes()[split_dataset(path)[1] :]


def test_stored_bytes_arrive_as_they_are(pacs: Any, stored: Any) -> None:
    """What the receiver gets is the data set of the file, bit by bit, in order, one outcome each."""
    peer = pacs.listen([build_context(MRImageStorage), build_context(SegmentationStorage, ExplicitVRLittleEndian)])
    objects = [stored(), stored(SegmentationStorage), stored(syntax=ImplicitVRLittleEndian), stored(Rows=99)]
    outcomes = list(SCU.store(peer, objects))
    assert _verdicts(outcomes) == [Verdict.ACCEPTED] * 4
    assert [outcome.sop_instance_uid for outcome in outcomes] == [item.sop_instance_uid for item in objects]
    assert pacs.received == [(item.sop_instance_uid, _data_set(item.path)) for item in objects]


def test_a_refused_sop_class_is_named_and_the_others_go(pacs: Any, stored: Any) -> None:
    """Presentation contexts are read before sending: SEG is permanent with a sentence, MR and SR go."""
    contexts = [build_context(MRImageStorage), build_context(Comprehensive3DSRStorage, ExplicitVRLittleEndian)]
    peer = pacs.listen(contexts)
    objects = [stored(), stored(SegmentationStorage), stored(Comprehensive3DSRStorage)]
    outcomes = list(SCU.store(peer, objects))
    assert _verdicts(outcomes) == [Verdict.ACCEPTED, Verdict.PERMANENT, Verdict.ACCEPTED]
    assert outcomes[1].reason == "PACS1 does not accept Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4)"
    assert outcomes[1].status is None
    assert len(pacs.received) == 2


def test_a_refused_transfer_syntax_is_named(pacs: Any, stored: Any) -> None:
    """A SOP class that is accepted, but not in the encoding of the stored bytes."""
    peer = pacs.listen([build_context(SegmentationStorage, ImplicitVRLittleEndian)])
    (outcome,) = SCU.store(peer, [stored(SegmentationStorage)])
    assert outcome.verdict is Verdict.PERMANENT
    assert outcome.reason.endswith("(1.2.840.10008.5.1.4.1.1.66.4) in Explicit VR Little Endian")


def test_when_nothing_is_accepted(pacs: Any, stored: Any) -> None:
    """An association without one accepted context is an answer, not a failure to reach the peer."""
    peer = pacs.listen([build_context(MRImageStorage)])
    (outcome,) = SCU.store(peer, [stored(SegmentationStorage)])
    assert outcome.verdict is Verdict.PERMANENT
    assert "does not accept Segmentation Storage" in outcome.reason
    assert SCU.accepted(peer, [SegmentationStorage]) == {SegmentationStorage: False}
    with pytest.raises(PeerRefused, match="C-ECHO"):
        SCU.echo(peer)


def test_which_sop_classes_are_accepted(pacs: Any) -> None:
    """`accepted` answers per SOP class for Explicit VR Little Endian, and stores nothing."""
    peer = pacs.listen([build_context(SegmentationStorage, ExplicitVRLittleEndian), build_context(MRImageStorage)])
    asked = [SegmentationStorage, Comprehensive3DSRStorage, MRImageStorage]
    assert list(SCU.accepted(peer, asked).values()) == [True, False, True]
    assert pacs.received == []


@pytest.mark.parametrize(
    ("status", "verdict", "words"),
    [
        (0x0000, Verdict.ACCEPTED, "stored"),
        (0xB000, Verdict.ACCEPTED, "changed by the receiver"),
        (0xB006, Verdict.ACCEPTED, "dropped by the receiver"),
        (0xB007, Verdict.ACCEPTED, "does not fit its SOP class"),
        (0x0107, Verdict.ACCEPTED, "warning"),
        (0x0116, Verdict.ACCEPTED, "warning"),
        (0x0111, Verdict.ACCEPTED, "already stored"),
        (0xA700, Verdict.TEMPORARY, "out of resources"),
        (0xA702, Verdict.TEMPORARY, "out of resources"),
        (0x0110, Verdict.TEMPORARY, "processing failure"),
        (0x0210, Verdict.TEMPORARY, "duplicate invocation"),
        (0xA900, Verdict.PERMANENT, "does not match its SOP class"),
        (0xC000, Verdict.PERMANENT, "cannot understand"),
        (0xC123, Verdict.PERMANENT, "cannot understand"),
        (0x0117, Verdict.PERMANENT, "invalid SOP instance"),
        (0x0122, Verdict.PERMANENT, "SOP class not supported"),
        (0x0124, Verdict.PERMANENT, "not authorised"),
        (0x0211, Verdict.PERMANENT, "refused"),
    ],
)
def test_every_status_has_a_meaning(pacs: Any, stored: Any, status: int, verdict: Verdict, words: str) -> None:
    """Each class of statuses of PS3.4 B.2.3 and PS3.7 Annex C is told apart, and the next object still goes."""
    peer = pacs.listen([build_context(MRImageStorage)])
    pacs.status = [status]
    first, second = SCU.store(peer, [stored(), stored()])
    assert (first.verdict, first.status) == (verdict, status)
    assert words in first.reason
    if status:
        assert first.reason.startswith(f"PACS1 answered 0x{status:04X}")
    assert second.verdict is Verdict.ACCEPTED


def test_the_conformance_statement_lists_the_statuses() -> None:
    """CONFORMANCE.md says of every status what the code does."""
    words = {Verdict.ACCEPTED: "delivered", Verdict.TEMPORARY: "tried again", Verdict.PERMANENT: "held"}
    text = (Path(__file__).resolve().parents[2] / "CONFORMANCE.md").read_text("utf-8")
    for meaning in MEANINGS:
        last = "" if meaning.first == meaning.last else f"-0x{meaning.last:04X}"
        status = "any other" if (meaning.first, meaning.last) == (0, 0xFFFF) else f"0x{meaning.first:04X}{last}"
        assert f"| {status} | {meaning.text} | {words[meaning.verdict]} |" in text


def test_nobody_there(stored: Any) -> None:
    """A closed port: temporary for every object, PeerUnreachable for an echo, and what to check."""
    peer = Peer.parse("PACS1", "127.0.0.1", _free_port())
    outcomes = list(QUICK.store(peer, [stored(), stored()]))
    assert _verdicts(outcomes) == [Verdict.TEMPORARY] * 2
    assert "host and port" in outcomes[0].reason
    with pytest.raises(PeerUnreachable, match="firewall"):
        QUICK.echo(peer)


def test_a_host_name_that_does_not_exist(stored: Any) -> None:
    """DNS trouble is told apart from a silent peer."""
    for host in ("no-such-host.invalid", "two..dots", "x" * 64 + ".example"):
        (outcome,) = QUICK.store(Peer.parse("PACS1", host, 104), [stored()])
        assert outcome.verdict is Verdict.TEMPORARY
        assert "DNS" in outcome.reason


def test_a_listener_that_says_nothing(stored: Any) -> None:
    """A peer that accepts the connection and never answers is given up after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer.parse("PACS1", "127.0.0.1", listener.getsockname()[1])
        started = time.monotonic()
        (outcome,) = QUICK.store(peer, [stored()])
        assert time.monotonic() - started < 8
        assert outcome.verdict is Verdict.TEMPORARY


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"require_called_aet": True}, "there is no AE title PACS2"),
        ({"require_calling_aet": ["SOMEBODY"]}, "does not know the calling AE title DICOM_NODE"),
    ],
)
def test_a_rejection_says_what_to_configure(pacs: Any, stored: Any, options: Any, advice: str) -> None:
    """Wrong AE titles are put right by a person later: temporary, retried, with that sentence (PS3.8 Table 9-21)."""
    listening = pacs.listen([build_context(MRImageStorage)], **options)
    peer = Peer.parse("PACS2", listening.host, listening.port)
    (outcome,) = SCU.store(peer, [stored()])
    assert outcome.verdict is Verdict.TEMPORARY
    assert advice in outcome.reason
    with pytest.raises(PeerRefused, match=advice):
        SCU.echo(peer)


def test_a_congested_peer_is_unreachable_for_now(start_node: Any, stored: Any) -> None:
    """A transient rejection is PeerUnreachable, hence retryable."""
    node = start_node(floor=2**30)
    node.free[0] = 0
    with pytest.raises(PeerUnreachable, match="limit of its own"):
        SCU.echo(node.peer)
    (outcome,) = SCU.store(node.peer, [stored()])
    assert outcome.verdict is Verdict.TEMPORARY


def test_a_peer_that_never_answers_a_store(pacs: Any, stored: Any) -> None:
    """A C-STORE without answer ends in time; it and the rest of the batch are temporary."""
    peer = pacs.listen([build_context(MRImageStorage)])
    hold = threading.Event()
    pacs.before_answer = lambda _: hold.wait(8)
    started = time.monotonic()
    outcomes = list(QUICK.store(peer, [stored(), stored()]))
    hold.set()
    assert time.monotonic() - started < 6
    assert _verdicts(outcomes) == [Verdict.TEMPORARY] * 2
    assert "did not answer" in outcomes[0].reason


def test_a_peer_that_aborts(pacs: Any, stored: Any) -> None:
    """A-ABORT at one object, wherever it stands: it is tried again, the others go over another association."""
    peer = pacs.listen([build_context(MRImageStorage)])
    for place in range(3):
        objects = [stored(), stored(), stored()]
        bad = objects[place].sop_instance_uid
        pacs.before_answer = lambda event, bad=bad: (
            event.assoc.abort() if event.request.AffectedSOPInstanceUID == bad else None
        )
        outcomes = list(SCU.store(peer, objects))
        assert [outcome.sop_instance_uid for outcome in outcomes] == [item.sop_instance_uid for item in objects]
        assert [outcome.verdict is Verdict.TEMPORARY for outcome in outcomes] == [at == place for at in range(3)]


def test_a_peer_that_always_aborts(pacs: Any, stored: Any) -> None:
    """Two associations without an answer are enough: the rest of the batch is not sent, and tried again later."""
    peer = pacs.listen([build_context(MRImageStorage)])
    seen: list[str] = []

    def note_and_abort(event: Any) -> None:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        event.assoc.abort()

    pacs.before_answer = note_and_abort
    objects = [stored() for _ in range(5)]
    outcomes = list(SCU.store(peer, objects))
    assert _verdicts(outcomes) == [Verdict.TEMPORARY] * 5
    assert seen == [item.sop_instance_uid for item in objects[:2]]


def test_a_connection_that_drops(pacs: Any, stored: Any) -> None:
    """A connection that goes away is temporary, and soon noticed."""
    peer = pacs.listen([build_context(MRImageStorage)])
    pacs.before_answer = lambda event: event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    started = time.monotonic()
    outcomes = list(SCU.store(peer, [stored(), stored()]))
    assert time.monotonic() - started < 8
    assert _verdicts(outcomes) == [Verdict.TEMPORARY] * 2


def test_a_missing_file_is_for_a_person(pacs: Any, stored: Any) -> None:
    """A file that is gone or damaged is permanent; the others of the batch go."""
    peer = pacs.listen([build_context(MRImageStorage)])
    gone, damaged, good = stored(), stored(), stored()
    gone.path.unlink()
    damaged.path.write_bytes(b"not a DICOM file")
    outcomes = list(SCU.store(peer, [gone, damaged, good]))
    assert _verdicts(outcomes) == [Verdict.PERMANENT, Verdict.PERMANENT, Verdict.ACCEPTED]
    assert "cannot be read" in outcomes[0].reason


def test_more_kinds_than_an_association_holds(node: Any, stored: Any) -> None:
    """More than 128 presentation contexts are spread over associations (PS3.8 9.3.2.2); every object goes once."""
    objects = [stored(f"1.2.840.10008.5.1.4.1.1.999.{number}") for number in range(130)]
    assert _verdicts(SCU.store(node.peer, objects)) == [Verdict.ACCEPTED] * 130
    assert len(node.ledger.instances) == 130


def test_echo(pacs: Any) -> None:
    """A peer that answers C-ECHO is reachable."""
    SCU.echo(pacs.listen([build_context(Verification)]))


def test_a_big_object_comes_through_whole(node: Any, stored: Any) -> None:
    """50 MB, sent from the file, arrive with the same digest."""
    item = stored(Rows=5000, Columns=5000, PixelData=bytes(range(256)) * 195_312 + bytes(128))
    (outcome,) = SCU.store(node.peer, [item])
    assert outcome.verdict is Verdict.ACCEPTED
    assert node.ledger.instances[0].sha256 == hashlib.sha256(_data_set(item.path)).hexdigest()


def test_an_abandoned_batch_releases_its_association(node: Any, stored: Any, eventually: Any) -> None:
    """Whoever stops reading outcomes leaves no association open."""
    outcomes = SCU.store(node.peer, [stored(), stored()])
    next(outcomes)
    outcomes.close()
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1].value == "released"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
