"""Show our results in OHIF, look at pixels and words, keep screenshots: `python -m tests.acceptance.viewers`."""

import argparse
import os
import sys
from pathlib import Path

import pytest

from dicom_node.demo import loopback
from dicom_node.errors import DemoUnavailable

_TESTS = Path(__file__).resolve().parents[1] / "test_viewers.py"


def main() -> int:
    """Run the tests of the viewer in a loopback-only network, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.viewers", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("viewers-out"), help="folder for screenshots and figures")
    given, others = parser.parse_known_args()
    os.environ["VIEWERS_OUT"] = str(given.out.resolve())
    try:
        loopback.enter()
    except DemoUnavailable as reason:
        sys.stderr.write(f"not in a loopback-only network: {reason}\n")
        return os.EX_UNAVAILABLE
    status = pytest.main([str(_TESTS), *others])
    figures = given.out / "figures.txt"
    if figures.exists():
        sys.stdout.write(figures.read_text(encoding="utf-8"))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
