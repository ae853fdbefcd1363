"""deepbet's networks at work on one head; apart from `brain_extraction`, because torch takes seconds to import."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import Progress, SettingValue
from pipelines.brain_plausibility import doubts, evidence
from pipelines.deepbet_outline import Outline, brain_mask, outline
from pipelines.deepbet_weights import Networks, load_networks

NOTHING_FOUND = "No brain was found in these images."


class Engine:
    """Both networks, loaded."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    @property
    def sha256(self) -> str:
        """Return the hex digest over both weight files."""
        return self._networks.sha256

    def find(
        self,
        image: NDArray[np.float32],
        spacing: tuple[float, float, float],
        settings: Mapping[str, SettingValue],
        progress: Progress,
    ) -> NDArray[np.bool_] | str:
        """Return the brain's mask, or a remark on why there is none.

        Parameters
        ----------
        image : float32, (x, y, z) in RAS order, any units
        spacing : (float, float, float)
            mm.
        """
        progress(0.05, "locating the brain")
        found = outline(self._networks, image, lambda: progress(0.25, "outlining the brain"))
        progress(0.85, "checking the outline")
        mask = None if found is None else brain_mask(found, image.shape, float(settings["threshold"]))
        if found is None or mask is None or not mask.any():
            return NOTHING_FOUND
        return _doubt(image, mask, found, spacing, settings) or mask


def load_engine(device: str, folder: Path | None) -> Engine:
    """Return the engine with weights from a folder, or from the installed package; raises as `load_networks`."""
    return Engine(load_networks(device, folder))


def _doubt(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    found: Outline,
    spacing: tuple[float, float, float],
    settings: Mapping[str, SettingValue],
) -> str:
    """Return the remark on an outline that is no plausible brain, empty if it is one."""
    seen = evidence(image, mask, found, spacing)
    reasons = doubts(seen, float(settings["minimum_volume_ml"]), float(settings["maximum_volume_ml"]))
    return f"What was outlined is not plausible as a brain: {'; '.join(reasons)}." if reasons else ""
