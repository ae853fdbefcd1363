"""Objects that the node itself fetched, kept as those that it is sent: bytes and row synced, only then answered."""

import uuid
from collections.abc import Callable, Collection
from typing import Final

import structlog

from dicom_node.entities import Arrival, Association, AssociationEnd, InstanceRef, SameUidPolicy
from dicom_node.errors import CannotUnderstand, DuplicateInstance, OutOfResources, ProcessingFailure, Refusal
from dicom_node.instance_store import Incoming, InstanceStore, Received
from dicom_node.ledger import PRIOR_MARK, Arrivals

log = structlog.get_logger(__name__)

#: Begins the ids of associations by which the node brought anything but priors.
_FETCH_MARK: Final = "fetch-"
_LONGEST_TITLE: Final = 16


class Keeper:
    """Keeps what one retrieval brings; the ledger knows it as one association.

    Parameters
    ----------
    sender : str
        The archive, by its AE title or name.
    receiver : str
        The AE title of this node.
    studies : collection of str
        What may come; of any other study nothing is kept.
    clock : callable
        UTC seconds.
    priors : bool
        What comes is no news about its study, and is not routed.
    stopped : callable
        Whether nothing more is to come: the node ends.
    """

    def __init__(
        self,
        store: InstanceStore,
        arrivals: Arrivals,
        policy: SameUidPolicy,
        sender: str,
        receiver: str,
        studies: Collection[str],
        clock: Callable[[], float],
        *,
        priors: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._arrivals = arrivals
        self._policy = policy
        self._studies = frozenset(studies)
        self._clock = clock
        mark = PRIOR_MARK if priors else _FETCH_MARK
        title = "".join(character for character in sender if character.isprintable())[:_LONGEST_TITLE]
        self._association = Association(f"{mark}{uuid.uuid4().hex}", title, receiver, "", clock())
        self.stopped = stopped
        self.kept: list[InstanceRef] = []
        self.refused = 0

    def open(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
        """Return where the bytes of one object go."""
        return self._store.incoming(
            sop_class_uid, sop_instance_uid, transfer_syntax_uid, self._association.calling or "ARCHIVE"
        )

    def keep(self, part: Incoming, sop_class_uid: str, sop_instance_uid: str) -> Refusal | None:
        """Keep an object whose last byte has come; return why it is not kept, or None: it is safe."""
        try:
            refusal = self._keep(Received(part, sop_class_uid, sop_instance_uid))
        except Refusal as why:
            refusal = why
        except Exception:  # boundary: an archive may send anything
            log.exception("fetched instance not kept", association=self._association.id)
            refusal = ProcessingFailure("the node failed to keep the instance; see its log")
        if refusal is not None:
            self._put_aside(part, sop_instance_uid, refusal)
        return refusal

    def _keep(self, received: Received) -> Refusal | None:
        reference = self._store.identified(received)
        if reference.study_instance_uid not in self._studies:
            return CannotUnderstand("it belongs to a study that was not asked for")
        (kept,) = self._store.keep_all([received])
        if isinstance(kept, Refusal):
            return kept
        (arrival,) = self._arrivals.note_arrivals([(kept, self._association, self._clock())], self._policy)
        if arrival is Arrival.DIFFERENT_REFUSED:
            return DuplicateInstance("the SOP Instance UID is known with other bytes")
        self.kept.append(kept)
        return None

    def _put_aside(self, part: Incoming, sop_instance_uid: str, refusal: Refusal) -> None:
        self.refused += 1
        log.warning(
            "fetched instance refused",
            association=self._association.id,
            sop_instance_uid=sop_instance_uid,
            reason=str(refusal),
        )
        part.close()
        if not part.path.exists():
            return
        if isinstance(refusal, OutOfResources):
            part.discard()
            return
        self._store.quarantine(part.path, str(refusal), self._association)

    def end(self, end: AssociationEnd) -> None:
        """Note how the retrieval ended: a study waits less long after a release."""
        if self.kept:
            self._arrivals.end_association(self._association, end, self._clock())
