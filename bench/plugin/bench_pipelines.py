"""Pipelines that benchmarks and tests drive the node with: a quick one, and some that misbehave.

They are found as a hospital's own would be, by entry point: put this folder on PYTHONPATH.
"""

import ctypes
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from highdicom import Volume
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.contract import Algorithm, Findings, Measurement, Progress, Role, Segment, Setting, SettingValue

_FAMILY = Code("123109", "DCM", "Manual Processing")


class BrightVoxels:
    """Outlines what is brighter than a multiple of the mean: quick, and the same every time."""

    name = "bright_voxels"
    version = "1.0"
    title = "Bright voxels"
    intended_use = "Benchmarks and tests of the node."
    roles: Mapping[str, Role] = {"t1": Role("Any MR series", minimum_slices=2)}
    settings: Mapping[str, Setting] = {
        "factor": Setting(1.5, "brighter than this multiple of the mean", at_least=0.0),
        "seconds": Setting(0.0, "how long to take (s)", at_least=0.0),
    }

    def load(self, device: str) -> str:
        """There is no model."""
        del device
        return ""

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return the mask of bright voxels and its volume in ml."""
        progress(0.5, "thresholding")
        time.sleep(float(settings["seconds"]))
        volume = inputs["t1"]
        mask = volume.array > float(settings["factor"]) * volume.array.mean()
        millilitres = float(mask.sum() * volume.voxel_volume / 1000)
        segment = Segment("Bright", mask, codes.SCT.AnatomicalStructure, codes.SCT.Brain, (70.0, 20.0, 60.0))
        size = Measurement(codes.SCT.Volume, millilitres, Code("ml", "UCUM", "ml"), "Bright")
        return Findings("t1", self.algorithm(), (segment,), (size,))

    def algorithm(self) -> Algorithm:
        """Say what made the findings."""
        return Algorithm(self.name, self.version, _FAMILY)


class SegmentationFault(BrightVoxels):
    """Takes its process down."""

    name = "segmentation_fault"

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Read address 0."""
        ctypes.string_at(0)
        return super().run(inputs, settings, progress)


class EndlessLoop(BrightVoxels):
    """Never returns."""

    name = "endless_loop"

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Turn for ever."""
        while progress is not None:
            pass
        return super().run(inputs, settings, progress)


class MemoryHog(BrightVoxels):
    """Takes all the memory there is."""

    name = "memory_hog"

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Take 50 MB every hundredth of a second."""
        taken = []
        while progress is not None:
            taken.append(b"\1" * 50_000_000)
            time.sleep(0.01)
        return super().run(inputs, settings, progress)


class UnforeseenError(BrightVoxels):
    """Raises what its author never thought of, with a text that quotes its input."""

    name = "unforeseen_error"

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Raise an error whose text no log may hold."""
        raise ValueError("Doe^Jane 1970-01-01")


class FindsNothing(BrightVoxels):
    """Finds nothing, and says so."""

    name = "finds_nothing"

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return a remark only."""
        return Findings("t1", self.algorithm(), remarks=("Nothing bright was found in these images.",))


class ComparesPrior(BrightVoxels):
    """Says how many slices its prior has."""

    name = "compares_prior"
    roles: Mapping[str, Role] = {
        "t1": Role("Any MR series", minimum_slices=2),
        "prior": Role("An earlier one", minimum_slices=2, prior=True),
    }

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return what the present images show, and a sentence about the prior."""
        findings = super().run(inputs, settings, progress)
        prior = inputs.get("prior")
        said = "There was no prior." if prior is None else f"Compared with a prior of {len(prior.array)} slices."
        return replace(findings, remarks=(said,))


class SevenParts(BrightVoxels):
    """Divides the image into seven parts side by side, and talks about it while it does."""

    name = "seven_parts"
    outputs: Mapping[str, str] = {"Part 1 to 7": "segments side by side"}

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return seven segments and the volume of each."""
        volume = inputs["t1"]
        columns = np.broadcast_to(np.arange(volume.array.shape[2]), volume.array.shape)
        segments, sizes = [], []
        for number in range(7):
            label = f"Part {number + 1}"
            mask = (columns >= 3 * number) & (columns < 3 * number + 3)
            segments.append(Segment(label, mask, codes.SCT.AnatomicalStructure, codes.SCT.Brain, (70.0, 20.0, 60.0)))
            millilitres = float(mask.sum() * volume.voxel_volume / 1000)
            sizes.append(Measurement(codes.SCT.Volume, millilitres, Code("ml", "UCUM", "ml"), label))
            logging.getLogger(__name__).info("%s has %d voxels", label, mask.sum())
            progress(number / 7, "dividing")
        return Findings("t1", self.algorithm(), tuple(segments), tuple(sizes))
