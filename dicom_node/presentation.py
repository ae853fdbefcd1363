"""SOP classes x transfer syntaxes x role, in one table; CONFORMANCE.md's tables are printed from it.

`python -m dicom_node.presentation` prints the tables; with a file name it renews them there, between their markers.
Presentation contexts: PS3.8 7.1.1.13; Storage Service Class: PS3.4 Annex B; Verification: PS3.4 Annex A.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import _config, build_context
from pynetdicom.presentation import (
    AllStoragePresentationContexts,
    PresentationContext,
    StoragePresentationContexts,
)
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    LabelMapSegmentationStorage,
    MRImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
    uid_to_service_class,
)

from dicom_node.settings import ResultKind

# pynetdicom keeps these for the whole process. The first formats every PDU for a log that nobody reads; the second
# sends a file's own bytes instead of decoding and encoding them again, and concerns only files sent by path.
_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_SEND_CHUNKED_DATASET = True

#: PS3.8 9.3.2.2: a presentation context ID is an odd number up to 255, so a requestor has at most this many.
MAXIMUM_CONTEXTS: Final = 128

#: The root under which the standard registers Storage SOP classes, retired and future ones included.
_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."

#: Real-time video (PS3.22) travels by RTP, never by C-STORE.
_REAL_TIME_VIDEO: Final = frozenset(f"1.2.840.10008.1.2.7.{number}" for number in (1, 2, 3))
#: Retired JPEG processes, which archives still hold, and Encapsulated Uncompressed.
_SELDOM: Final = (
    "1.2.840.10008.1.2.1.98",
    *(f"1.2.840.10008.1.2.4.{number}" for number in range(52, 67) if number != 57),  # noqa: PLR2004 - not retired
)

#: As acceptor the first of these that a context proposes is chosen: a sender that can send an object uncompressed
#: does so, and any reader can open it. A sender that offers only its own encoding is taken at that.
_UNCOMPRESSED: Final = (
    str(ExplicitVRLittleEndian),
    str(ImplicitVRLittleEndian),
    str(ExplicitVRBigEndian),
    str(DeflatedExplicitVRLittleEndian),
)
TRANSFER_SYNTAXES: Final[tuple[str, ...]] = (
    *_UNCOMPRESSED,
    *(str(uid) for uid in AllTransferSyntaxes if uid not in _UNCOMPRESSED and uid not in _REAL_TIME_VIDEO),
    *_SELDOM,
)
#: For proposals of every usual class at once: DCMTK takes no A-ASSOCIATE-RQ of more than 128 KiB.
_USUAL_SYNTAXES: Final = (
    *_UNCOMPRESSED[:2],
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
    "1.2.840.10008.1.2.5",
)
#: Registered after the dictionary of pydicom 3.0 was made.
_NEW_NAMES: Final = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}


def sop_class_name(uid: str) -> str:
    """Return the name that the standard gives a SOP class or transfer syntax, and say so where it gives none."""
    name = UID(uid).name if UID(uid).name != uid else _NEW_NAMES.get(uid, "")
    return name or ("Private SOP Class" if UID(uid).is_private else "Unknown SOP Class")


STORAGE_SOP_CLASSES: Final[tuple[str, ...]] = tuple(
    sorted((str(context.abstract_syntax) for context in AllStoragePresentationContexts), key=sop_class_name)
)


class Role(StrEnum):
    """Who provides the service (PS3.4 4.3)."""

    SCU = "SCU"
    SCP = "SCP"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: SOP classes, the transfer syntaxes they are spoken in, and our role.

    An empty tuple of transfer syntaxes stands for the one in which the object is stored.
    """

    service: str
    sop_classes: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...]
    role: Role


LABEL_MAP_STORAGE: Final = str(LabelMapSegmentationStorage)
#: `transfer_syntax` of a result profile.
RESULT_TRANSFER_SYNTAXES: Final[Mapping[str, UID]] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
}
#: Every SOP class in which a kind of result may be sent.
RESULT_SOP_CLASSES: Final[Mapping[ResultKind, tuple[str, ...]]] = {
    ResultKind.SEGMENTATION: (str(SegmentationStorage), LABEL_MAP_STORAGE),
    ResultKind.REPORT: (str(Comprehensive3DSRStorage),),
    ResultKind.PARAMETRIC_MAP: (str(ParametricMapStorage),),
    ResultKind.PICTURE: (str(SecondaryCaptureImageStorage),),
    ResultKind.DOCUMENT: (str(EncapsulatedPDFStorage),),
    ResultKind.KEY_OBJECTS: (str(KeyObjectSelectionDocumentStorage),),
    ResultKind.PRESENTATION_STATE: (str(GrayscaleSoftcopyPresentationStateStorage),),
    ResultKind.IMAGES: (
        str(MRImageStorage),
        str(CTImageStorage),
        str(EnhancedMRImageStorage),
        str(EnhancedCTImageStorage),
    ),
}

TABLE: Final = (
    Row("Verification", (str(Verification),), _UNCOMPRESSED[:3], Role.SCP),
    Row("Verification", (str(Verification),), _UNCOMPRESSED[:2], Role.SCU),
    Row("Storage Commitment", (str(StorageCommitmentPushModel),), _UNCOMPRESSED[:3], Role.SCP),
    Row("Storage", STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, Role.SCP),
    *(
        Row(f"Storage of results ({kind})", classes, _UNCOMPRESSED[:2], Role.SCU)
        for kind, classes in RESULT_SOP_CLASSES.items()
    ),
    Row("Storage Commitment", (str(StorageCommitmentPushModel),), _UNCOMPRESSED[:2], Role.SCU),
    Row("Query (Study Root)", (str(StudyRootQueryRetrieveInformationModelFind),), _UNCOMPRESSED[:2], Role.SCU),
    Row("Retrieve (Study Root)", (str(StudyRootQueryRetrieveInformationModelGet),), _UNCOMPRESSED[:2], Role.SCU),
    Row("Storage (sub-operations of a C-GET)", STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, Role.SCP),
    Row("Retrieve (Study Root)", (str(StudyRootQueryRetrieveInformationModelMove),), _UNCOMPRESSED[:2], Role.SCU),
    Row("Storage of other objects (`dicom-node send`)", STORAGE_SOP_CLASSES, (), Role.SCU),
)


def described(uid: str) -> str:
    """Return "Segmentation Storage (1.2.840...)"."""
    return f"{sop_class_name(uid)} ({uid})"


def is_storage(uid: str) -> bool:
    """Return whether an abstract syntax is accepted for C-STORE.

    True for every SOP class of the Storage Service Class (PS3.4 B.5), retired and not yet known ones included, and
    for private SOP classes: a node that keeps bytes as received needs not know what they mean.
    """
    if uid in STORAGE_SOP_CLASSES:
        return True
    unknown = uid_to_service_class(uid) is ServiceClass
    return unknown and (UID(uid).is_private or uid.startswith(_STORAGE_ROOT))


def is_ours(uid: str) -> bool:
    """Return whether the fast engine provides a service as SCP."""
    return uid == Verification or is_storage(uid)


def acceptable(proposed: Iterable[str], *, commitment: bool = False) -> list[PresentationContext]:
    """Return what the SCP supports of the proposed abstract syntaxes, each in every transfer syntax it knows.

    Only what was proposed: pynetdicom copies the list for every association, and the whole table takes 0.1 s.
    """
    wanted = set(proposed)
    contexts = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in sorted(wanted) if is_storage(uid)]
    if Verification in wanted:
        contexts.append(build_context(Verification, list(TABLE[0].transfer_syntaxes)))
    if commitment and StorageCommitmentPushModel in wanted:
        contexts.append(build_context(StorageCommitmentPushModel, list(TABLE[2].transfer_syntaxes)))
    for context in contexts:
        # what a requestor's role selection is measured by (PS3.7 D.3.3.4): it may be SCU, and we are SCP; one that
        # brings the report on a request of ours is SCP itself (PS3.4 J.3.3)
        context.scu_role, context.scp_role = True, context.abstract_syntax == StorageCommitmentPushModel
    return contexts


def verification() -> list[PresentationContext]:
    """Return the presentation context of a C-ECHO SCU."""
    return [build_context(Verification, list(TABLE[1].transfer_syntaxes))]


def commitment_report() -> list[PresentationContext]:
    """Return the presentation context for storage commitment reports on an association of our own."""
    return [build_context(StorageCommitmentPushModel, list(TABLE[2].transfer_syntaxes[:2]))]


def commitment_request() -> list[PresentationContext]:
    """Return the presentation context of a storage commitment SCU."""
    return [build_context(StorageCommitmentPushModel, list(_UNCOMPRESSED[:2]))]


def study_root_find() -> list[PresentationContext]:
    """Return the presentation context of a Study Root C-FIND SCU (PS3.4 C.6.2)."""
    return [build_context(StudyRootQueryRetrieveInformationModelFind, list(_UNCOMPRESSED[:2]))]


def study_root_move() -> list[PresentationContext]:
    """Return the presentation context of a Study Root C-MOVE SCU (PS3.4 C.6.2)."""
    return [build_context(StudyRootQueryRetrieveInformationModelMove, list(_UNCOMPRESSED[:2]))]


def study_root_get(sop_classes: Iterable[str]) -> list[PresentationContext]:
    """Return the presentation contexts of a Study Root C-GET SCU, and of the storage SCP that its objects come to.

    Parameters
    ----------
    sop_classes : iterable of str
        Of the objects that are asked for; empty, if the archive does not say: then the most usual ones.

    Each class has a context for what is not compressed, and - as far as there is room - one for each other transfer
    syntax: an archive that cannot decompress sends an object as it has it.
    """
    known = sorted({uid for uid in sop_classes if is_storage(uid)})
    contexts = [build_context(StudyRootQueryRetrieveInformationModelGet, list(_UNCOMPRESSED[:2]))]
    if not known:
        usual = [str(context.abstract_syntax) for context in StoragePresentationContexts]
        contexts += [build_context(uid, list(_USUAL_SYNTAXES)) for uid in usual[: MAXIMUM_CONTEXTS - 1]]
        return contexts
    for syntaxes in (list(_UNCOMPRESSED), *([syntax] for syntax in TRANSFER_SYNTAXES[len(_UNCOMPRESSED) :])):
        contexts += [build_context(uid, syntaxes) for uid in known]
    return contexts[:MAXIMUM_CONTEXTS]


def proposal(pairs: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """Return one presentation context for every distinct (SOP class, transfer syntax).

    One transfer syntax each, so that the acceptor cannot choose one in which the stored bytes are not.

    Raises
    ------
    ValueError
        If there are more pairs than an association can hold; see `batches`.
    """
    distinct = list(dict.fromkeys(pairs))
    if len(distinct) > MAXIMUM_CONTEXTS:
        raise ValueError(f"{len(distinct)} presentation contexts; an association holds {MAXIMUM_CONTEXTS}")
    return [build_context(sop_class, transfer_syntax) for sop_class, transfer_syntax in distinct]


def tables() -> Mapping[str, str]:
    """Return CONFORMANCE.md's generated tables: marker to Markdown."""
    return {
        "roles": _table(("Service", "Role", "SOP classes", "Transfer syntaxes"), [_role_line(row) for row in TABLE]),
        "sop-classes": _uid_table("SOP class", STORAGE_SOP_CLASSES),
        "transfer-syntaxes": _uid_table("Transfer syntax", TRANSFER_SYNTAXES),
    }


def _role_line(row: Row) -> tuple[str, ...]:
    several = 5
    classes = ", ".join(map(described, row.sop_classes))
    syntaxes = ", ".join(map(sop_class_name, row.transfer_syntaxes)) or "the one in which the object is stored"
    return (
        row.service,
        row.role,
        classes if len(row.sop_classes) < several else "table of Storage SOP classes",
        syntaxes if len(row.transfer_syntaxes) < several else "table of transfer syntaxes",
    )


def _uid_table(title: str, uids: Sequence[str]) -> str:
    return _table((title, "UID"), [(sop_class_name(uid), f"`{uid}`") for uid in uids])


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def renewed(text: str) -> str:
    """Return a document with the tables between its markers replaced by the present ones."""
    for name, table in tables().items():
        begin, end = f"<!-- table {name} -->", f"<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        text = re.sub(pattern, f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    return text


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or renew them in the named document."""
    for name in arguments:
        path = Path(name)
        path.write_text(renewed(path.read_text("utf-8")), "utf-8")
    if not arguments:
        sys.stdout.write("\n\n".join(tables().values()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
