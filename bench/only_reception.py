"""The node's receivers and ledger without its flow, to tell what reception costs from what the node does besides.

python -m bench.only_reception PORT FOLDER
"""

import signal
import sys
import threading
from pathlib import Path

from dicom_node.ledger import open_ledger
from dicom_node.settings import LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp import ReceiverProcesses, Setup


def main(port: int, folder: Path) -> None:
    """Receive until told to stop."""
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    open_ledger(url).close()
    everybody = (Source(name="everybody", ae_titles=("*",), addresses=("*",)),)
    scp = ReceiverProcesses(Setup(ReceptionSettings(port=port), "NODE", everybody, folder, 0, url, LogSettings()))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    scp.start()
    stop.wait()
    scp.stop(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
