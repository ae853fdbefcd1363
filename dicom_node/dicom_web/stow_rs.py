"""Sends objects by STOW-RS in bounded batches, and tells what became of each."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import structlog

from dicom_node import IMPLEMENTATION_CLASS_UID
from dicom_node.dicom_web import statuses
from dicom_node.dicom_web.multipart import Body, SourceLost, TooSlow
from dicom_node.dicom_web.response import told
from dicom_node.dicom_web.service import Service
from dicom_node.dicom_web.web import Answer
from dicom_node.errors import Failure, PeerUnreachable
from dicom_node.outgoing import Outcome, OutgoingObject
from dicom_node.pace import Pace

log = structlog.get_logger(__name__)

#: A request holds so many objects and bytes; an object that is larger goes alone.
BATCH_OBJECTS: Final = 50
BATCH_BYTES: Final = 64 * 2**20
#: As for C-STORE: the slowest receiver that counts as alive, and the slowest line.
_SLOWEST_BYTES_A_SECOND: Final = 250_000
_SLOWEST_LINE: Final = 10_000
_Files = Sequence[tuple[OutgoingObject, int]]


class StowRsSender:
    """STOW-RS to one destination (PS3.18 10.5).

    Parameters
    ----------
    timeout_seconds : float
        For what has no length; objects have longer.
    """

    def __init__(self, service: Service, timeout_seconds: float, pace: Pace) -> None:
        self._service = service
        self._timeout = timeout_seconds
        self._pace = pace
        self._name: Final = str(service)

    def __str__(self) -> str:
        """Return the address that objects are posted to."""
        return self._name

    def echo(self) -> None:
        """Return if the server answers and knows this node; whether it stores, only a POST shows.

        The question is OPTIONS (PS3.18 8.9). A server that does not know it (Orthanc) is asked for a study that
        nobody has (QIDO-RS, PS3.18 10.6), so that the answer holds no patient.

        Raises
        ------
        Failure
            If it does not.
        """
        answer = self._service.asked("OPTIONS")
        if answer.status == statuses.NOT_FOUND:
            nobodys = (("StudyInstanceUID", IMPLEMENTATION_CLASS_UID), ("limit", "1"))
            answer = self._service.asked("GET", query=nobodys)
        why = statuses.why_not_there(answer)
        if why is not None:
            raise PeerUnreachable(f"{self._name}: {why}")

    def accepted(self, sop_class_uids: Sequence[str], _transfer_syntax_uid: str) -> Mapping[str, bool | None]:
        """Return that STOW-RS has no way to ask: a server says so when it is sent an object."""
        return dict.fromkeys(sop_class_uids)

    def store(self, objects: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Send objects as they are; yield one outcome for each, in order."""
        found: dict[str, Outcome] = {}
        due = iter(objects)
        for batch in _batches(objects, found):
            self._store_batch(batch, found)
            # what comes before the last of this batch has its outcome by now
            for item in due:
                yield self._noted(found[item.sop_instance_uid])
                if item is batch[-1][0]:
                    break
        for item in due:
            yield self._noted(found[item.sop_instance_uid])

    def _noted(self, outcome: Outcome) -> Outcome:
        log.info(
            "object sent",
            peer=self._name,
            sop_instance_uid=outcome.sop_instance_uid,
            outcome=outcome.verdict,
            reason=outcome.reason,
        )
        return outcome

    def _store_batch(self, batch: _Files, found: dict[str, Outcome]) -> None:
        try:
            answer = self._posted(batch)
        except (Failure, SourceLost, TooSlow) as failure:
            reason = str(failure) if isinstance(failure, Failure) else _broken_off(failure, self._name)
            found.update((item.sop_instance_uid, item.postponed(reason)) for item, _ in batch)
            return
        said = told(answer.body)
        if len(batch) > 1 and not said.anything and statuses.refuses(answer):
            # too much at once, or one object that it does not like and does not name: that holds up no other
            for each in batch:
                self._store_batch([each], found)
            return
        for item, _ in batch:
            found[item.sop_instance_uid] = statuses.outcome(item, self._name, answer, said)

    def _posted(self, batch: _Files) -> Answer:
        size = sum(length for _, length in batch)
        longer = size / _SLOWEST_LINE + self._pace.seconds(size)

        def body() -> Body:
            return Body(batch, self._pace, time.monotonic() + self._timeout + longer)

        return self._service.posted(body, size / _SLOWEST_BYTES_A_SECOND)


def _broken_off(failure: Exception, name: str) -> str:
    if isinstance(failure, SourceLost):
        return f"{failure} changed while it was being sent; is the store damaged?"
    return f"{name} takes the objects too slowly"


def _batches(objects: Sequence[OutgoingObject], found: dict[str, Outcome]) -> Iterator[_Files]:
    """Yield the files to send together; what cannot be read gets its outcome, and is not sent."""
    batch: list[tuple[OutgoingObject, int]] = []
    total = 0
    for item in objects:
        try:
            size = item.path.stat().st_size
            with item.path.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    raise ValueError("not a DICOM file")  # noqa: TRY301 - as for what stat and open raise
        except (OSError, ValueError) as error:
            found[item.sop_instance_uid] = item.unreadable(error)
            continue
        if batch and (len(batch) == BATCH_OBJECTS or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append((item, size))
        total += size
    if batch:
        yield batch
