"""Two test PACS on loopback: Orthanc where it is installed, else a small storage SCP. Neither is meant for patients.

Both answer the same questions: what was stored for a study, what its bytes are, and which C-STOREs arrived in which
order - so a test can tell "delivered once" from "delivered twice, the second time harmlessly".
"""

import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import ARRIVALS, LOOPBACK, SUCCESS, VERIFICATION, Pacs, Stored, free_port, read_arrivals

__all__ = ["OrthancPacs", "Pacs", "SmallPacs", "Stored", "best_pacs"]


def best_pacs(folder: Path, ae_title: str) -> Pacs:
    """Return Orthanc if it is installed and may run here, else the small PACS; not yet started."""
    if OrthancPacs.program() is not None and loopback.inside():
        return OrthancPacs(folder, ae_title)
    return SmallPacs(folder, ae_title)


class SmallPacs:
    """A storage SCP that keeps files in a folder, the first of equal SOP Instance UIDs.

    Parameters
    ----------
    port : int
        0 picks a free one.
    refused : frozenset of str
        SOP classes whose presentation contexts are rejected (PS3.8 9.3.3.2, abstract syntax not supported).
    answer : callable
        SOP Instance UID -> the status of its C-STORE; anything but 0x0000 is not kept.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str = "SMALLPACS",
        port: int = 0,
        *,
        refused: frozenset[str] = frozenset(),
        answer: Callable[[str], int] = lambda _: SUCCESS,
    ) -> None:
        self.ae_title = ae_title
        self.port = port or free_port()
        self._folder = folder
        self._answer = answer
        self._lock = threading.Lock()
        self._server: Any = None
        self._entity = AE(ae_title=ae_title)
        self._entity.require_called_aet = True
        self._entity.add_supported_context(VERIFICATION)
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax not in refused:
                self._entity.add_supported_context(context.abstract_syntax, context.transfer_syntax)

    def start(self) -> None:
        """Start listening; the port is bound when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handlers = [(evt.EVT_C_STORE, self._on_store)]
        self._server = self._entity.start_server((LOOPBACK, self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        """Stop listening and abort what is still connected."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def stored(self, study_instance_uid: str | None = None) -> tuple[Stored, ...]:
        """Return the instances of a study, or of all studies, sorted by SOP Instance UID."""
        found = (_identity(path) for path in sorted(self._folder.glob("*.dcm")))
        return tuple(one for one in found if study_instance_uid in (None, one.study_instance_uid))

    def fetch(self, sop_instance_uid: str) -> bytes:
        """Return one stored instance as a DICOM file; raises KeyError for an unknown one."""
        path = self._folder / f"{sop_instance_uid}.dcm"
        if not path.exists():
            raise KeyError(sop_instance_uid)
        return path.read_bytes()

    def arrivals(self) -> tuple[str, ...]:
        """Return the SOP Instance UID of every C-STORE that arrived, repeats too, in order."""
        return read_arrivals(self._folder)

    def _on_store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        status = self._answer(uid)
        with self._lock, (self._folder / ARRIVALS).open("a", encoding="ascii") as record:
            record.write(f"{uid}\n")
            path = self._folder / f"{uid}.dcm"
            if status == SUCCESS and not path.exists():
                path.write_bytes(event.encoded_dataset())
        return status

    def __enter__(self) -> Self:
        """Start and return the PACS."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the PACS."""
        self.stop()


def _identity(path: Path) -> Stored:
    wanted = ["SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"]
    header = dcmread(BytesIO(path.read_bytes()), stop_before_pixels=True, specific_tags=wanted)
    return Stored(*(str(header[keyword].value) for keyword in wanted))
