"""What only the running node knows: its parts' health. The node gives it; the ledger has all the rest."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.echoes import Echo
from dicom_node.gpus import Gpu

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Reach:
    """How a destination was last seen; times are UTC seconds.

    Parameters
    ----------
    down_since : float or None
        None while it answers, as far as is known.
    accepts : mapping
        SOP Class UID to whether it is accepted; empty before it was asked.
    echo : Echo or None
        The last C-ECHO (for DICOMweb or a folder: what stands for it).
    """

    down_since: float | None = None
    reason: str = ""
    accepts: Mapping[str, bool | None] | None = None
    echo: Echo | None = None


@dataclass(frozen=True, slots=True)
class Vitals:
    """A running node, now.

    Parameters
    ----------
    gpus : callable
        Returns the GPUs; it asks a program, so only who shows them calls it.
    """

    started_at: float
    receivers: int
    receivers_wanted: int
    workers: int
    free_workers: int
    device: str
    destinations: Mapping[str, Reach]
    gpus: Callable[[], tuple[Gpu, ...]] = tuple


TakeVitals = Callable[[], Vitals]


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the disk of the data folder, in MiB."""

    total_mib: int
    free_mib: int
    floor_mib: int

    @property
    def full(self) -> bool:
        """True if nothing more is accepted."""
        return self.free_mib <= self.floor_mib

    @property
    def low(self) -> bool:
        """True if nothing more is accepted soon: less than twice the floor is free."""
        return self.free_mib < 2 * self.floor_mib


def disk_of(folder: Path, floor_mib: int) -> Disk:
    """Return the room below a folder; raises OSError if it is gone."""
    usage = shutil.disk_usage(folder)
    return Disk(usage.total // _MIB, usage.free // _MIB, floor_mib)
