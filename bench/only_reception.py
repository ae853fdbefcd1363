"""The node's receivers and ledger without its flow, to tell what reception costs from what the node does besides.

python -m bench.only_reception PORT FOLDER
"""

import signal
import sys
import threading
import time
from pathlib import Path

from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import open_ledger
from dicom_node.settings import LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp import ReceiverProcesses, Setup, StorageSCP


def main(port: int, folder: Path) -> None:
    """Receive until told to stop."""
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    ledger = open_ledger(url)
    everybody = (Source(name="everybody", ae_titles=("*",), addresses=("*",)),)
    settings = ReceptionSettings(port=port)
    here = StorageSCP(settings, "NODE", everybody, InstanceStore(folder, 0), ledger.arrivals, time.time)
    scp = ReceiverProcesses(Setup(settings, "NODE", everybody, folder, 0, url, LogSettings()), here.reception)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    scp.start()
    stop.wait()
    scp.stop(1)
    ledger.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
