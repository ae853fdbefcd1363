"""How fast bytes may leave for one destination: a limit that all that is sent there shares."""

import threading
import time
from typing import Final

_MIB: Final = 2**20
#: A line that is idle saves up no more than this: what comes after a pause is not sent in one burst.
_SAVED_SECONDS: Final = 0.1


class Pace:
    """A limit in MiB (2**20 bytes) a second; 0 for none."""

    def __init__(self, mib_per_second: float) -> None:
        self._rate = mib_per_second * _MIB
        self._free_at = 0.0  # when everything that was sent so far may have left
        self._lock = threading.Lock()

    def piece(self, size: int) -> int:
        """Return how many bytes to send between two `spend`: no more than a tenth of a second is worth."""
        return max(min(size, int(self._rate * _SAVED_SECONDS)), 1) if self._rate else size

    def seconds(self, size: int) -> float:
        """Return how long the limit makes so many bytes take."""
        return size / self._rate if self._rate else 0.0

    def spend(self, size: int) -> None:
        """Return when so many more bytes may leave."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            wait = self._free_at - now
            self._free_at = max(self._free_at, now - _SAVED_SECONDS) + size / self._rate
        if wait > 0:
            time.sleep(wait)
