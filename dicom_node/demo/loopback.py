"""A network namespace that holds nothing but loopback: what listens in it is reachable from nowhere else.

Orthanc 1.10 binds every address of the machine and has no setting against it, so the demo, the tests and the
benchmarks start it only in here. `python -m dicom_node.demo.loopback COMMAND...` runs a command inside; with
`--if-possible` it says why it could not enter, and runs the command anyhow.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from dicom_node.errors import DemoUnavailable

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
#: struct ifreq of <net/if.h>: name, then a union whose first member here is the flags.
_IFREQ: Final = struct.Struct("16sH22x")
_IF_POSSIBLE: Final = "--if-possible"


def inside() -> bool:
    """Return True if loopback is up here and no other network interface is."""
    if sys.platform != "linux":
        return False
    up = [flags for flags in map(_flags, _names()) if flags & _IFF_UP]
    return bool(up) and all(flags & _IFF_LOOPBACK for flags in up)


def enter() -> None:
    """Move this process into a new network namespace and bring its loopback interface up; no effect if inside.

    Call it before any thread opens a socket: threads that already run stay outside.

    Raises
    ------
    DemoUnavailable
        If this is not Linux, or the kernel or container forbids a new namespace.
    """
    if inside():
        return
    if os.geteuid() != 0 or not _unshared(_CLONE_NEWNET):
        _enter_as_user()
    _set_up("lo")


def run(command: Sequence[str]) -> NoReturn:
    """Replace this process by a command inside.

    Raises
    ------
    DemoUnavailable
        If the namespace cannot be entered; then nothing was started.
    """
    enter()
    os.execvp(command[0], list(command))  # noqa: S606 - the command is the caller's own


def _enter_as_user() -> None:
    user, group = os.geteuid(), os.getegid()
    if not _unshared(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise DemoUnavailable(
            f"this machine does not allow a network namespace of one's own ({os.strerror(ctypes.get_errno())}): "
            "run as root, or allow it by the sysctl user.max_user_namespaces (or kernel.unprivileged_userns_clone)"
        )
    # user_namespaces(7): each process keeps its own user; setgroups must be denied before gid_map may be written
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def _unshared(flags: int) -> bool:
    # os.unshare came with Python 3.12
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if unshare is None:
        raise DemoUnavailable("network namespaces exist on Linux only: use the small test PACS instead of Orthanc")
    return bool(unshare(flags) == 0)


def _names() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
    return int(_IFREQ.unpack(answer)[1])


def _set_up(name: str) -> None:
    request = _IFREQ.pack(name.encode(), _flags(name) | _IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, request)


def main(arguments: Sequence[str]) -> int:
    """Run the command line of this module; returns only if nothing could be started."""
    optional = bool(arguments) and arguments[0] == _IF_POSSIBLE
    command = list(arguments[1:] if optional else arguments)
    if not command:
        sys.stderr.write(f"usage: python -m dicom_node.demo.loopback [{_IF_POSSIBLE}] COMMAND...\n")
        return os.EX_USAGE
    try:
        run(command)
    except DemoUnavailable as reason:
        sys.stderr.write(f"not in a loopback-only network: {reason}\n")
        if not optional:
            return os.EX_UNAVAILABLE
        os.execvp(command[0], command)  # noqa: S606 - the command is the caller's own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
