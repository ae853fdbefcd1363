"""How long a browser may take to ask: uvicorn itself waits for ever for the rest of a request."""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: From a connection, or the first byte of a further request, to the request's last byte.
SLOWEST_SECONDS: Final = 60.0


class PatientHttp(H11Protocol):
    """Hangs up on whoever does not say in time what they want; h11 also bounds how long headers may be.

    A response may take as long as it needs, and a web socket is no request any more.
    """

    slowest_seconds = SLOWEST_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait for the rest, if there is one."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.slowest_seconds, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
