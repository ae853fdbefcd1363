"""The two families of errors: a `Refusal` knows the DICOM status it answers, a `Failure` knows if a retry helps.

`str(error)` is always safe to log: UIDs, AE titles and paths may appear, patient data never does.
Status codes: PS3.4 Annex B.2.3 (Storage), PS3.7 Annex C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class DicomNodeError(Exception):
    """Any error that this software raises on purpose; its text tells an administrator what to do."""


class Refusal(DicomNodeError):
    """A received object or request that is answered with a status other than success.

    Attributes
    ----------
    status : int
        The DIMSE status (0000,0900) to answer.
    """

    status: ClassVar[int] = 0xC000


class OutOfResources(Refusal):
    """The store is below its free-space floor, or the bytes could not be written (PS3.4 B.2.3: 0xA700)."""

    status = 0xA700


class SopClassMismatch(Refusal):
    """The data set's SOP class or instance UID is not the one of the request (PS3.4 B.2.3: 0xA900)."""

    status = 0xA900


class CannotUnderstand(Refusal):
    """The bytes are not a data set that can be identified (PS3.4 B.2.3: 0xC000)."""

    status = 0xC000


class DuplicateInstance(Refusal):
    """The SOP Instance UID is known with other bytes and the policy is to refuse (PS3.7 C.5.3: 0x0111)."""

    status = 0x0111


class ProcessingFailure(Refusal):
    """The node itself failed; the instance was not kept (PS3.7 C.5.14: 0x0110)."""

    status = 0x0110


class InvalidArgument(Refusal):
    """The data set of a request lacks what the request is about (PS3.7 C.5.8: 0x0115, invalid argument value)."""

    status = 0x0115


class NoSuchInstance(Refusal):
    """A request is about an instance that this node does not manage (PS3.7 C.5.12: 0x0112)."""

    status = 0x0112


class NoSuchAction(Refusal):
    """A request asks for an action that its SOP class does not have (PS3.7 C.5.10: 0x0123)."""

    status = 0x0123


class Failure(DicomNodeError):
    """Work that did not succeed.

    Attributes
    ----------
    retryable : bool
        True if the same work may succeed later without anybody changing anything.
    """

    retryable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong in a text, and what would be right; line and column count from 1."""

    line: int
    column: int
    what: str

    def told(self, name: str) -> str:
        """Return "file:line: what"."""
        return f"{name}:{self.line}: {self.what}"


class SettingsInvalid(Failure):
    """`node.toml` or `rules.toml` has faults; the text lists every one with file and line.

    Attributes
    ----------
    faults : tuple of Fault
        The same as values, where they have a place in the file.
    """

    def __init__(self, text: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(text)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, name: str, faults: Sequence[Fault]) -> "SettingsInvalid":
        """Return the error for the faults of one file, in order of their lines."""
        ordered = sorted(set(faults))
        return cls("\n".join(dict.fromkeys(fault.told(name) for fault in ordered)), ordered)


class TlsUnusable(Failure):
    """The certificate, key or CA of a table such as `[reception.tls]` cannot be used."""


class GeometryUnusable(Failure):
    """A series is not one regular volume; the sentence is written for a radiographer."""


class PipelineUnknown(Failure):
    """A rule or command names a pipeline that is not installed."""


class PipelineRefused(Failure):
    """A pipeline says, in words, why it cannot give a result for these images."""


class PipelineFailed(Failure):
    """A pipeline raised an error that nobody foresaw; running it again would raise it again."""


class ModelUnavailable(Failure):
    """Model weights are missing or have another checksum; the text says how to get them."""


class WorkerDied(Failure):
    """The worker process ended while running the job: crash, kill, or out of memory."""

    retryable = True


class MemoryLimitExceeded(Failure):
    """The job used more memory than its limit."""


class TimeLimitExceeded(Failure):
    """The job ran longer than its limit."""


class ComputeUnavailable(Failure):
    """No worker can be reached."""

    retryable = True


class WrongObject(Failure):
    """The gate refuses an object: sending it could show the wrong result on the wrong patient or slice."""


class PeerUnreachable(Failure):
    """A destination does not answer, or answers with a temporary status; trying again later may help."""

    retryable = True


class PeerRefused(Failure):
    """A destination refuses an object for good; the text says what to change there."""


class ServiceNotOffered(PeerRefused):
    """A peer does not accept the service at all: it need not be asked again."""


class PagesUnavailable(Failure):
    """The pages cannot be served; the text says what to change. The node receives all the same."""


class TransitionForbidden(Failure):
    """A row is not in a state in which this may happen to it."""


class DemoUnavailable(Failure):
    """The demo or its test PACS lacks something on this machine; the text says what to install or to give."""
