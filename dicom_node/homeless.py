"""Deliveries for a destination that the settings no longer have: nobody would ever send them, so they are held."""

from collections.abc import Collection

from dicom_node.ledger import Ledger
from dicom_node.lifecycle import LEASE_SECONDS


def hold_homeless(
    ledger: Ledger, owner: str, known: Collection[str], now: float, among: Collection[str] | None = None
) -> None:
    """Hold what waits for destinations that are not known.

    Parameters
    ----------
    owner : str
        The node's name, for leases.
    among : collection of str or None
        The destinations that may be gone; None: any.
    """
    waiting = ledger.deliveries.waiting()
    gone = waiting.keys() - set(known)
    for name in sorted(gone if among is None else gone & set(among)):
        reason = f"there is no destination {name!r} in node.toml any more: add it and retry, or cancel this"
        ledger.deliveries.bring_back(name, now, every=True)
        until = now + LEASE_SECONDS
        for delivery in ledger.deliveries.start(name, owner, now, until, waiting[name], although_paused=True):
            ledger.deliveries.hold(delivery, None, reason, now)
