"""P-DATA-TF PDUs (PS3.8 9.3.5, Annex E) in a buffer that is used again; files are read between the heads."""

import os
import struct
from collections.abc import Iterator
from typing import Final

from dicom_node.requestor.acse import MalformedPdu, Pdu
from dicom_node.requestor.part10 import StoredFile

_COMMAND: Final = 1  # bits of the message control header (PS3.8 E.2)
_LAST: Final = 2
#: Head of a PDU with one PDV: type, length, length of the PDV, context ID, message control header.
_HEAD: Final = struct.Struct(">BxIIBB")
_PDV: Final = struct.Struct(">IBB")
_PDV_OVERHEAD: Final = 6  # of a PDV, within the length of its PDU
#: What is read from the disk and given to the system at once.
_WINDOW: Final = 2**20
#: os.preadv takes no more buffers at once (IOV_MAX).
_MOST_PIECES: Final = 1000
#: Before the first PDU of a data set: its command set goes out with it. Longer ones, in tiny PDUs, go alone.
_RESERVE: Final = 512
#: A peer that takes PDUs of any length is sent none that are longer.
_LONGEST_PDU: Final = 2**18


class Framer:
    """Makes PDUs that the peer takes.

    Parameters
    ----------
    maximum_length : int
        Bytes of a PDU after its head, as the peer told (PS3.8 D.1); 0: any.
    window : int
        Bytes of a file to send at once.
    """

    def __init__(self, maximum_length: int, window: int = _WINDOW) -> None:
        longest = min(maximum_length or _LONGEST_PDU, _LONGEST_PDU)
        # fragments have even lengths (PS3.8 E.1)
        self._piece = max((longest - _PDV_OVERHEAD) & ~1, 2)
        self._pieces = max(min(window // self._piece, _MOST_PIECES), 1)
        self._buffer = memoryview(bytearray(_RESERVE + self._pieces * (self._piece + _HEAD.size)))

    def command(self, context_id: int, command_set: bytes) -> bytes:
        """Return the PDUs of a command set."""
        size, pdus = self._piece, b""
        for at in range(0, len(command_set), size):
            piece = command_set[at : at + size]
            control = _COMMAND | _LAST if at + size >= len(command_set) else _COMMAND
            pdus += _HEAD.pack(Pdu.P_DATA, len(piece) + _PDV_OVERHEAD, len(piece) + 2, context_id, control) + piece
        return pdus

    def message(self, context_id: int, command_set: bytes, file: StoredFile) -> Iterator[memoryview]:
        """Yield the PDUs of a command set and a file's data set; what was yielded is overwritten by the next.

        Raises
        ------
        OSError
            If the file cannot be read to its end.
        """
        command = self.command(context_id, command_set)
        if len(command) > _RESERVE:
            yield memoryview(command)
            command = b""
        at, left = file.offset, file.size
        while True:
            size = min(left, self._pieces * self._piece)
            left -= size
            end, places = self._heads(context_id, size, last=left == 0)
            if places and os.preadv(file.descriptor, places, at) != size:
                raise OSError(None, "the file has become shorter")
            start = _RESERVE - len(command)
            self._buffer[start:_RESERVE] = command
            yield self._buffer[start:end]
            command = b""
            at += size
            if not left:
                return

    def _heads(self, context_id: int, size: int, *, last: bool) -> tuple[int, list[memoryview]]:
        """Write heads for so many bytes; return where the last PDU ends, and the places between the heads."""
        buffer, at = self._buffer, _RESERVE
        places: list[memoryview] = []
        while True:
            piece = min(size, self._piece)
            size -= piece
            control = _LAST if last and not size else 0
            _HEAD.pack_into(buffer, at, Pdu.P_DATA, piece + _PDV_OVERHEAD, piece + 2, context_id, control)
            at += _HEAD.size
            if piece:
                places.append(buffer[at : at + piece])
            at += piece
            if not size:
                return at, places


def command_fragments(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the fragments of a command set in the body of a P-DATA-TF, each with whether it is the last.

    Raises
    ------
    MalformedPdu
        If a PDV is longer than its PDU, or holds a piece of a data set: nobody sends an SCU of C-STORE one.
    """
    at = 0
    while at < len(body):
        if at + _PDV.size > len(body):
            raise MalformedPdu("a PDU ends in the head of a PDV")
        length, _, control = _PDV.unpack_from(body, at)
        end = at + 4 + length
        if end > len(body) or length < 2 or not control & _COMMAND:  # noqa: PLR2004 - context ID and control header
            raise MalformedPdu("no fragment of a command set")
        yield body[at + _PDV.size : end], bool(control & _LAST)
        at = end
