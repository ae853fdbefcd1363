"""The peer that pynetdicom makes easy: a storage SCP that writes what comes.

python -m bench.plain_scp PORT FOLDER
"""

import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification

from dicom_node.presentation import TRANSFER_SYNTAXES


def main(port: int, folder: Path) -> None:
    """Serve until killed."""
    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE("PLAIN")
    entity.maximum_associations = 1000
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, list(TRANSFER_SYNTAXES))

    def store(event: evt.Event) -> int:
        (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
