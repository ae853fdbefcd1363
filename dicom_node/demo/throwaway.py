"""Settings and rules of the demo's node: shipped defaults, a throw-away store, and less patience."""

from pathlib import Path
from typing import Final

from dicom_node.demo.stored import LOOPBACK
from dicom_node.entities import Peer
from dicom_node.settings import (
    AdminSettings,
    CompletionSettings,
    DeliverySettings,
    DicomDestination,
    LogSettings,
    NodeSettings,
    ReceptionSettings,
    Settings,
    Source,
)

#: What the demo's scanner calls itself.
SCANNER: Final = "SCANNER"
PACS: Final = "test PACS"
#: The demo needs tens of megabytes; a laptop that is nearly full should still run it.
_FREE_SPACE_MIB: Final = 256

RULES: Final = f"""
[[rule]]
name = "brain volume"
description = "Brain mask and volume of a whole-head T1-weighted MR."
pipeline = "brain_extraction"
destinations = ["{PACS}"]

[rule.inputs.t1]
Modality = "MR"
SeriesDescription = {{ matches = "t1|mp2?rage|bravo|spgr|tfe" }}
NumberOfSlices = {{ at_least = 32 }}

[[rule]]
name = "brain volume of what looks most like a T1"
description = "Where no series says that it is T1: the one with the most slices."
fallback = true
pipeline = "brain_extraction"
destinations = ["{PACS}"]

[rule.inputs.t1]
Modality = "MR"
NumberOfSlices = {{ at_least = 32 }}
"""


def demo_settings(folder: Path, rules: Path, port: int, pacs: Peer) -> Settings:
    """Return settings for a node that keeps everything below `folder` and listens on a port of loopback."""
    return Settings(
        admin=AdminSettings(enabled=False),
        node=NodeSettings(name="demo", data=folder, rules=rules),
        reception=ReceptionSettings(address=LOOPBACK, port=port, free_space_floor_mib=_FREE_SPACE_MIB),
        completion=CompletionSettings(quiet_seconds=5, release_grace_seconds=1),
        sources=(Source(name="demo scanner", ae_titles=(SCANNER,), addresses=(LOOPBACK,)),),
        destinations=(DicomDestination(name=PACS, ae_title=str(pacs.ae_title), host=pacs.host, port=pacs.port),),
        delivery=DeliverySettings(first_wait_seconds=1, longest_wait_seconds=5, echo_seconds=2),
        log=LogSettings(level="warning"),  # of receivers, whose lines come to standard error
    )
