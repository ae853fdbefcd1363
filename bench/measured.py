"""Run one program; say as JSON, on the last line, how long it took and how much memory it held at most.

`python -I bench/measured.py PROGRAM WORDS...` - a script with few imports, because Linux lets the peak of a process
begin with what its parent held when it was started.
"""

import json
import os
import sys
import time

_KIB = 1024  # in which Linux counts resident memory


def main(words: list[str]) -> int:
    """Return the program's exit status."""
    started = time.monotonic()
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(process, 0)
    print(json.dumps({"seconds": time.monotonic() - started, "peak_bytes": usage.ru_maxrss * _KIB}))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
