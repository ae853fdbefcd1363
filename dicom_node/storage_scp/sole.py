"""Only one node's receivers work with a store: a lock that every receiver inherits, free when the last is gone.

A node that is killed may leave a receiver behind for a moment, one that is just starting: it holds the port, and may
read a journal that the next node wants to read too.
"""

import fcntl
import time
from pathlib import Path
from typing import Final, TextIO

import structlog

from dicom_node.errors import Failure

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.05


class ReceiversRemain(Failure):
    """Receiver processes of a node that has ended are still there."""

    retryable = True


def alone(path: Path, patience_seconds: float) -> TextIO:
    """Return the locked file, to be inherited by receivers, once no receiver of a former node holds it.

    Raises
    ------
    ReceiversRemain
        If one still does after so many seconds.
    """
    file = path.open("w", encoding="ascii")
    until = time.monotonic() + patience_seconds
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                file.close()
                raise ReceiversRemain(
                    f"receiver processes of a node that has ended still work with {path.parent}: end them "
                    "(they are called dicom_node.storage_scp.receiver_process), then start again"
                ) from None
            if not told:
                log.warning("waiting for the receivers of the node before")
                told = True
            time.sleep(_LOOK_SECONDS)
        else:
            return file
