"""What came of one fetch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dicom_node.errors import Failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fetch brought, in words, and what it gives to the roles of its job.

    Parameters
    ----------
    inputs : mapping
        Role to store-relative paths.
    broke : Failure or None
        Why not everything came; it may be tried again.
    """

    reason: str
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    broke: Failure | None = None
