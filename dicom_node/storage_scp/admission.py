"""Who may open an association; pure: names, addresses and counts in, an answer and its reason out.

Answers are those of the A-ASSOCIATE-RJ PDU (PS3.8 9.3.4, Table 9-21).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.settings import Source


@dataclass(frozen=True, slots=True)
class Rejection:
    """One A-ASSOCIATE-RJ, and why, in words for an administrator.

    Parameters
    ----------
    unknown_caller : bool
        True if the caller is not configured, so that a person may want to allow it.
    """

    result: int
    source: int
    diagnostic: int
    reason: str
    unknown_caller: bool = False


class KnownCallers:
    """Who may call, now: replaced as a whole while associations are asked for on other threads."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Those who may call; associations that are open stay open whoever this becomes."""
        return self._sources

    def replace(self, sources: Sequence[Source]) -> None:
        """From now on let these call, and nobody else."""
        self._sources = tuple(sources)


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of the door.

    Parameters
    ----------
    called : frozenset of str
        The AE titles that this node answers to.
    """

    called: frozenset[str]
    callers: KnownCallers
    maximum_associations: int
    maximum_associations_per_caller: int

    def rejection(
        self, calling: str, called: str, address: str, certificates: frozenset[str] = frozenset()
    ) -> Rejection | None:
        """Return why a caller is not admitted, or None; permanent, because only a person can change it.

        A known AE title from an address that is not its own is answered like an unknown one: whoever asks learns
        nothing about the configuration. The reason that is recorded says which it was.
        """
        if called.strip() not in self.called:
            known = ", ".join(sorted(self.called))
            return Rejection(1, 1, 7, f"called AE title is not one of this node's ({known})", unknown_caller=True)
        namesakes = [source for source in self.callers.sources if source.is_called(calling.strip())]
        if not namesakes:
            return Rejection(1, 1, 3, "calling AE title is in no [[source]]", unknown_caller=True)
        if not any(source.is_at(address) for source in namesakes):
            names = ", ".join(source.name for source in namesakes)
            reason = f"calling AE title belongs to source {names}, which has no such address"
            return Rejection(1, 1, 3, reason, unknown_caller=True)
        here = [source for source in namesakes if source.is_at(address)]
        if not any(source.is_proved_by(certificates) for source in here):
            names = ", ".join(source.name for source in here)
            reason = f"calling AE title belongs to source {names}, which has another certificate"
            return Rejection(1, 1, 3, reason, unknown_caller=True)
        return None

    def overload(self, open_associations: int, of_this_caller: int) -> Rejection | None:
        """Return a transient rejection if as many associations as allowed are open (local limit exceeded)."""
        if open_associations >= self.maximum_associations:
            return local_limit(
                f"{open_associations} associations are open, as many as reception.maximum_associations"
            )
        if of_this_caller >= self.maximum_associations_per_caller:
            return local_limit(
                f"{of_this_caller} associations of this caller are open, as many as "
                "reception.maximum_associations_per_caller"
            )
        return None


def local_limit(reason: str) -> Rejection:
    """Return the transient rejection "local limit exceeded": the caller may try again later."""
    return Rejection(2, 3, 2, reason)
