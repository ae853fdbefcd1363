"""The GPUs of this computer, as NVIDIA's own tool tells them: no library of theirs is needed."""

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Final

_TOOL: Final = "nvidia-smi"
_ASKED: Final = "--query-gpu=name,memory.used,memory.total,utilization.gpu"
_PATIENCE_SECONDS: Final = 5.0
#: The tool takes a while; whoever looks more often sees what it said before.
_KEPT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, now; memory in MiB, how busy in percent (None where the driver does not tell)."""

    name: str
    used_mib: int
    total_mib: int
    busy_percent: int | None = None


class Gpus:
    """Asks the tool, and keeps its answer for a while; safe to call from many threads."""

    def __init__(self, tool: str = _TOOL) -> None:
        self._tool = shutil.which(tool)
        self._found: tuple[Gpu, ...] = ()
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def now(self) -> tuple[Gpu, ...]:
        """Return the GPUs; none where there is no tool, or it does not answer."""
        if self._tool is None:
            return ()
        with self._lock:
            if time.monotonic() - self._asked_at > _KEPT_SECONDS:
                self._found = _read(self._ask(self._tool))
                self._asked_at = time.monotonic()
            return self._found

    def _ask(self, tool: str) -> str:
        command = [tool, _ASKED, "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command, nobody's input
                command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout if done.returncode == 0 else ""


def _read(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of lines such as "NVIDIA H100 80GB HBM3, 431, 81559, 0"."""
    found = []
    for line in text.splitlines():
        name, *numbers = (part.strip() for part in line.rsplit(",", 3))
        used, total, busy = (int(each) if each.isdecimal() else None for each in [*numbers, "", "", ""][:3])
        if name and used is not None and total is not None:
            found.append(Gpu(name, used, total, busy))
    return tuple(found)
