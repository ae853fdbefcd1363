"""A listening socket."""

import socket
from typing import Final

from dicom_node.settings import ReceptionSettings

#: Senders open many associations at once; who finds the queue full waits a second before it tries again.
_QUEUE: Final = 1024


def listen(settings: ReceptionSettings, port: int | None = None) -> socket.socket:
    """Return a socket that listens on this port, else on that of the settings; port 0 takes any free one.

    Not with SO_REUSEPORT: two nodes could then share a port by mistake, and what waits in the queue of a process that
    dies would be lost. Receivers accept from this one socket.

    Raises
    ------
    OSError
        If the address cannot be bound, for instance because another program has the port.
    """
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    line = socket.socket(family, socket.SOCK_STREAM)
    try:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind((settings.address, settings.port if port is None else port))
        line.listen(_QUEUE)
    except OSError:
        line.close()
        raise
    return line
