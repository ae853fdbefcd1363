"""A multipart/related body (RFC 2046 5.1, RFC 2387) taken apart while it arrives: a piece at a time in memory."""

from collections.abc import Iterable, Iterator
from email.message import Message
from typing import Final

from dicom_node.errors import PeerUnreachable

_LONGEST_HEAD: Final = 2**16
_BLANK: Final = b"\r\n\r\n"


class MultipartBroken(PeerUnreachable):
    """A body is not what its headers say, or ends too soon."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Raises
    ------
    MultipartBroken
        If it is no multipart.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not boundary:
        raise MultipartBroken("the server answers with something else than multipart/related")
    return boundary.encode("ascii", "replace")


class Parts:
    """The parts of a body, one after the other; each must be read to its end before the next is asked for."""

    def __init__(self, body: Iterable[bytes], boundary: bytes) -> None:
        self._body = iter(body)
        self._delimiter = b"\r\n--" + boundary
        # the first delimiter may stand at the very beginning
        self._buffer = bytearray(b"\r\n")

    def __iter__(self) -> Iterator[Iterator[bytes]]:
        """Yield the pieces of each part.

        Raises
        ------
        MultipartBroken
            If the body ends before its last delimiter.
        """
        for _ in self._until_delimiter():
            pass
        while not self._is_last():
            self._skip_head()
            pieces = self._until_delimiter()
            yield pieces
            for _ in pieces:  # what nobody read
                pass

    def _more(self) -> None:
        piece = next(self._body, b"")
        if not piece:
            raise MultipartBroken("the server's answer ends in the middle of an object")
        self._buffer += piece

    def _until_delimiter(self) -> Iterator[bytes]:
        while (at := self._buffer.find(self._delimiter)) < 0:
            # the delimiter may be cut in two by the end of the buffer
            safe = len(self._buffer) - len(self._delimiter) + 1
            if safe > 0:
                yield bytes(self._buffer[:safe])
                del self._buffer[:safe]
            self._more()
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]

    def _is_last(self) -> bool:
        while len(self._buffer) < len(b"--"):
            self._more()
        return self._buffer.startswith(b"--")

    def _skip_head(self) -> None:
        while (at := self._buffer.find(_BLANK)) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise MultipartBroken("the server's answer has a part whose headers do not end")
            self._more()
        # with no header at all, the line of the delimiter ends where the blank line begins
        del self._buffer[: at + len(_BLANK)]
