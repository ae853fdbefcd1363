"""Bytes that have come and are not answered yet: limited per caller and in all; no sender can fill the disk."""

from typing import Any

import pytest

from bench import upper_layer

_MIB = 2**20


def _association(node: Any, calling: str = "SCANNER") -> upper_layer.RawAssociation:
    contexts = [(upper_layer.MR_STORAGE, upper_layer.EXPLICIT_LITTLE)]
    return upper_layer.RawAssociation(node.peer, calling, contexts)


def _object(image: Any, encoded: Any, size: int) -> bytes:
    """Return a C-STORE request with its data set, as the bytes of its PDUs."""
    image.PixelData = bytes(size)
    return upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image))


@pytest.mark.parametrize("limit", ["maximum_mib_in_flight", "maximum_mib_in_flight_per_caller"])
def test_one_object_beyond_the_limit(start_node: Any, mr_image: Any, encoded: Any, limit: str) -> None:
    """0xA700 (PS3.4 B.2.3) at its end, with the setting's name; nothing of it stays; smaller ones are taken."""
    node = start_node(**{limit: 4})
    with node.line() as line:
        image = mr_image()
        image.PixelData = bytes(6 * _MIB)
        answer = line.store(encoded(image), upper_layer.MR_STORAGE, image.SOPInstanceUID)
        assert answer.Status == 0xA700
        assert limit[:20] in str(answer.ErrorComment) or "arriving" in str(answer.ErrorComment)
        assert line.object(PixelData=bytes(3 * _MIB)).Status == 0x0000
        assert line.object(PixelData=bytes(3 * _MIB)).Status == 0x0000  # what was answered is no longer in flight
    assert node.files("incoming") == []
    assert len(node.ledger.instances) == 2


def test_a_disk_is_not_filled_by_an_object_without_end(
    start_node: Any, mr_image: Any, encoded: Any, eventually: Any
) -> None:
    """The bytes of an object that goes beyond the limit are gone while it is still arriving."""
    node = start_node(maximum_mib_in_flight=4)
    request = _object(mr_image(), encoded, 8 * _MIB)
    with _association(node) as association:
        association.send(request[: 6 * _MIB])
        assert eventually(lambda: [path.stat().st_size for path in node.files("incoming")] == [0])
        association.send(request[6 * _MIB :])
        assert association.answer().status == 0xA700


def test_the_share_of_a_caller(start_node: Any, mr_image: Any, encoded: Any, eventually: Any) -> None:
    """One caller's associations count together; another caller is not affected; what is given up is free again."""
    node = start_node(maximum_mib_in_flight_per_caller=4)
    request = _object(mr_image(), encoded, 4 * _MIB)
    with _association(node) as first:
        first.send(request[: 3 * _MIB])
        assert eventually(lambda: sum(path.stat().st_size for path in node.files("incoming")) > 2 * _MIB)
        with _association(node) as second:
            second.send(_object(mr_image(), encoded, 3 * _MIB))
            assert second.answer().status == 0xA700
        with _association(node, "OTHER") as other:
            other.send(_object(mr_image(), encoded, 3 * _MIB))
            assert other.answer().status == 0x0000
        first.close()
    assert eventually(lambda: node.files("incoming") == [])
    with _association(node) as third:
        third.send(_object(mr_image(), encoded, 3 * _MIB))
        assert third.answer().status == 0x0000
