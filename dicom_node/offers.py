"""What destinations accept, and what becomes of their result profiles by that: no result vanishes without a word.

A SOP class that a destination does not accept in an association, it does not take at all (PS3.8 9.3.3.2). A
destination that tells only when it is sent an object (STOW-RS), or that takes everything (a folder), is believed.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.uid import SegmentationStorage

from dicom_node.outgoing import Sender
from dicom_node.presentation import LABEL_MAP_STORAGE, RESULT_SOP_CLASSES, RESULT_TRANSFER_SYNTAXES, sop_class_name
from dicom_node.settings import NoticeKind, ResultKind, ResultProfile

#: SOP Class UID to whether it is accepted; None, or absent, where nobody knows.
Accepted = Mapping[str, bool | None]
_LABEL_MAP: Final = "labelmap"


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that a destination does not get as its profile says.

    Parameters
    ----------
    text : str
        What, why, and what is sent instead or what to do.
    replaced : bool
        True if something else is sent in its place; False if it would be held.
    """

    text: str
    replaced: bool


def asked_for(profile: ResultProfile) -> tuple[str, ...]:
    """Return the SOP classes to ask a destination for: those of its profile, and those that may take their place."""
    kinds = set(profile.kinds) | _notices(profile)
    if ResultKind.SEGMENTATION in kinds:
        kinds.add(ResultKind.PICTURE)
    return tuple(uid for kind, uids in RESULT_SOP_CLASSES.items() if kind in kinds for uid in uids)


def ask(profile: ResultProfile, sender: Sender) -> Accepted:
    """Ask a destination which SOP classes of its profile it accepts; raises Failure, as `Sender.accepted`."""
    return sender.accepted(asked_for(profile), str(RESULT_TRANSFER_SYNTAXES[profile.transfer_syntax]))


def fitted(profile: ResultProfile, accepted: Accepted) -> ResultProfile:
    """Return a profile as a destination can take it.

    Label map segmentations, which few systems take, are sent only where they are known to be accepted. Pictures take
    the place of segmentations that are known not to be. Everything else stays: it is held with its reason, and seen.
    """
    if _without_label_maps(profile, accepted):
        profile = profile.model_copy(update={"segmentation": "binary"})
    if _pictures_instead(profile, accepted):
        kinds = (ResultKind.PICTURE if kind is ResultKind.SEGMENTATION else kind for kind in profile.kinds)
        profile = profile.model_copy(update={"kinds": tuple(dict.fromkeys(kinds))})
    return profile


def losses(profile: ResultProfile, accepted: Accepted) -> tuple[Loss, ...]:
    """Return what a destination is known to lose of its profile, in words for an administrator."""
    return tuple(_losses(profile, accepted))


def _losses(profile: ResultProfile, accepted: Accepted) -> Iterator[Loss]:
    if profile.segmentation == _LABEL_MAP and _in(profile) and accepted.get(LABEL_MAP_STORAGE) is False:
        yield Loss(
            f"{sop_class_name(LABEL_MAP_STORAGE)} is not accepted: segmentations are sent binary", replaced=True
        )
    if _pictures_instead(profile, accepted):
        yield Loss(
            f"{sop_class_name(SegmentationStorage)} is not accepted: pictures (SC) are sent instead, and the report "
            "has its numbers without a segmentation",
            replaced=True,
        )
    left = fitted(profile, accepted)
    for kind in (*left.kinds, *sorted(_notices(left) - set(left.kinds))):
        for uid in _classes(kind):
            if accepted.get(uid) is False:
                what = f"{kind}: {sop_class_name(uid)} is not accepted, so such results would be held"
                yield Loss(
                    f"{what}; let the destination accept it, or leave {kind} out of its profile", replaced=False
                )


def _classes(kind: ResultKind) -> tuple[str, ...]:
    """Return the SOP classes that a kind is sent in; a label map has been dealt with."""
    return tuple(uid for uid in RESULT_SOP_CLASSES[kind] if uid != LABEL_MAP_STORAGE)


def _notices(profile: ResultProfile) -> set[ResultKind]:
    wanted = {NoticeKind.REPORT: ResultKind.REPORT, NoticeKind.PICTURE: ResultKind.PICTURE}
    return {wanted[profile.not_run]} if profile.not_run in wanted else set()


def _in(profile: ResultProfile) -> bool:
    return ResultKind.SEGMENTATION in profile.kinds


def _without_label_maps(profile: ResultProfile, accepted: Accepted) -> bool:
    # not before the destination was asked; one that cannot be asked (None) gets what its profile says
    return profile.segmentation == _LABEL_MAP and accepted.get(LABEL_MAP_STORAGE, False) is False


def _pictures_instead(profile: ResultProfile, accepted: Accepted) -> bool:
    if not _in(profile) or not accepted.get(RESULT_SOP_CLASSES[ResultKind.PICTURE][0]):
        return False
    needed = str(SegmentationStorage) if _without_label_maps(profile, accepted) else _wanted(profile)
    return accepted.get(needed) is False


def _wanted(profile: ResultProfile) -> str:
    return LABEL_MAP_STORAGE if profile.segmentation == _LABEL_MAP else str(SegmentationStorage)


class Offers:
    """What each destination was last known to accept, by its name; for threads."""

    def __init__(self) -> None:
        self._known: dict[str, Accepted] = {}
        self._lock = threading.Lock()

    def learn(self, name: str, accepted: Accepted) -> bool:
        """Keep what a destination answered; return whether that is new."""
        with self._lock:
            is_new = self._known.get(name) != accepted
            self._known[name] = accepted
            return is_new

    def forget(self, name: str) -> None:
        """Know nothing of a destination that is another one now."""
        with self._lock:
            self._known.pop(name, None)

    def of(self, name: str) -> Accepted:
        """Return what a destination accepts; nothing is known of one that has not been asked."""
        with self._lock:
            return self._known.get(name, {})
