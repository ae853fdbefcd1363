"""What a job uses of its worker process: processor time, memory, and the GPU if PyTorch is there."""

import contextlib
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Any, Final

from dicom_node.ledger import Resources

_MIB: Final = 2.0**20
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
#: Linux (proc(5)): writing this sets the peak of the resident memory back to what is resident now.
_RESET_PEAK: Final = "5"
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


class Meter:
    """Measures this process from when it is made; a worker process does one job at a time."""

    def __init__(self) -> None:
        self._before = _cpu_seconds()
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        cuda = _cuda()
        if cuda is not None:
            cuda.reset_peak_memory_stats()

    def read(self, weights: str = "") -> Resources:
        """Return what was used until now."""
        cuda = _cuda()
        taken = 0.0 if cuda is None else cuda.max_memory_allocated() / _MIB
        return Resources(
            cpu_seconds=round(_cpu_seconds() - self._before, 3),
            peak_memory_mib=round(_peak_mib(), 1),
            device=cuda.get_device_name() if cuda is not None and taken else "cpu",
            gpu_memory_mib=round(taken, 1),
            weights=weights,
            host=platform.node(),
        )


def _cpu_seconds() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def _peak_mib() -> float:
    try:
        found = _PEAK.search(_STATUS.read_text(encoding="ascii"))
    except OSError:
        found = None
    # the peak of the whole process, where there is no better
    kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024


def _cuda() -> Any:
    """Return PyTorch's module of the GPU; None unless a pipeline has brought PyTorch, and there is a GPU."""
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_available() and cuda.is_initialized() else None
