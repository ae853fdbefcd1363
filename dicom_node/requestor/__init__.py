"""Associations that the node asks for: C-STORE and C-ECHO by an engine of our own, other services by pynetdicom.

pynetdicom decodes and encodes what it sends, and its reactor thread looks for answers at intervals; in our own engine
(PS3.8 and PS3.7 without a thread) the bytes of a file go from the disk into PDUs in one step, and an answer is read
when it comes.
"""

from dicom_node.requestor.acse import Agreed, Proposed
from dicom_node.requestor.association import Association, AssociationRejected, LineLost, requested
from dicom_node.requestor.by_pynetdicom import leave_answers
from dicom_node.requestor.calling import Requestor
from dicom_node.requestor.finding import identifier, matches, require_accepted
from dicom_node.requestor.part10 import StoredFile, opened

__all__ = [
    "Agreed",
    "Association",
    "AssociationRejected",
    "LineLost",
    "Proposed",
    "Requestor",
    "StoredFile",
    "identifier",
    "leave_answers",
    "matches",
    "opened",
    "requested",
    "require_accepted",
]
