"""Brain mask and volume from a whole-head T1 series, with deepbet's networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.contract import (
    Algorithm,
    Findings,
    Measurement,
    Progress,
    Role,
    Segment,
    Setting,
    SettingValue,
    checked_settings,
)
from dicom_node.errors import ModelUnavailable
from pipelines.deepbet_files import weight_files

if TYPE_CHECKING:
    from pipelines.deepbet_engine import Engine

_ROLE: Final = "t1"
_LABEL: Final = "Brain"
_MILLILITRE: Final = Code("ml", "UCUM", "ml")
#: A warm, opaque yellow-orange that stands out on grey in every viewer.
_COLOUR_LAB: Final = (76.0, 20.0, 70.0)
_CITATION: Final = (
    "Fisch L et al. deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks. "
    "Comput Biol Med 2024;179:108845"
)


class BrainExtraction:
    """Whole-head T1 in; the brain's mask and volume out, or a sentence that says why there is none.

    Parameters
    ----------
    weights_folder : Path or None
        Where the weight files lie; None takes those of the installed deepbet package.
    """

    name = "brain_extraction"
    version = "1.0.0"
    title = "Brain extraction"
    intended_use = (
        "Outlines the brain in a whole-head T1-weighted MR series and measures its volume, for research and "
        "evaluation. Brain tissue with the cerebrospinal fluid between its folds, from the vertex to the brain stem."
    )
    roles: Mapping[str, Role] = {_ROLE: Role(title="Whole-head T1", minimum_slices=32)}
    settings: Mapping[str, Setting] = {
        "threshold": Setting(0.5, "probability above which a voxel is brain", at_least=0.05, at_most=0.95),
        "minimum_volume_ml": Setting(700.0, "a smaller outline is not reported as a brain (ml)", 0.0, 5000.0),
        "maximum_volume_ml": Setting(2200.0, "a larger outline is not reported as a brain (ml)", 0.0, 5000.0),
    }
    outputs: Mapping[str, str] = {
        _LABEL: "segment on the T1 series: the outline of the brain",
        "Volume": "measurement in ml: what lies inside that outline",
        "Remark": "a sentence instead of both, if no plausible brain was found",
    }

    def __init__(self, weights_folder: Path | None = None) -> None:
        self._weights_folder = weights_folder
        self._engine: Engine | None = None

    def weight_files(self) -> Sequence[Path]:
        """Return both weight files, in the order in which they are digested; raises ModelUnavailable."""
        return weight_files(self._weights_folder)

    def load(self, device: str) -> str:
        """Load both networks and keep them.

        Returns
        -------
        str
            Hex SHA-256 over both weight files.

        Raises
        ------
        ModelUnavailable
            If weights are missing or have another checksum.
        """
        # roles and settings are asked for by who never runs a model: torch is imported when it is needed
        from pipelines.deepbet_engine import load_engine  # noqa: PLC0415

        self._engine = load_engine(device, self._weights_folder)
        return self._engine.sha256

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return the brain's outline and volume.

        Parameters
        ----------
        inputs : mapping
            "t1": float32, (slice, row, column), any orientation.

        Returns
        -------
        Findings
            No segment and no measurement, but a remark, if no plausible brain was found.

        Raises
        ------
        ModelUnavailable
            If `load` was not called.
        """
        if self._engine is None:
            raise ModelUnavailable("brain_extraction has no weights loaded; call load before run")
        wanted, _ = checked_settings(self.settings, settings)
        algorithm = self._algorithm(self._engine.sha256, wanted)
        head = inputs[_ROLE].to_patient_orientation("RAS")
        image = np.ascontiguousarray(head.array, np.float32)
        found = self._engine.find(image, head.spacing, wanted, progress)
        if isinstance(found, str):
            return Findings(_ROLE, algorithm, remarks=(found,))
        return _brain(inputs[_ROLE], _as_input(found, head, inputs[_ROLE]), algorithm)

    def _algorithm(self, weights: str, settings: Mapping[str, SettingValue]) -> Algorithm:
        return Algorithm(
            name=self.name,
            version=self.version,
            family=codes.CID7162.ArtificialIntelligence,
            weights_sha256=weights,
            parameters=settings,
            citation=_CITATION,
        )


def _as_input(mask: NDArray[np.bool_], head: Volume, volume: Volume) -> NDArray[np.bool_]:
    """Return a mask in RAS order in the order of the input's own voxels."""
    back = head.with_array(mask).to_patient_orientation(volume.get_closest_patient_orientation())
    return np.ascontiguousarray(back.array)


def _brain(volume: Volume, mask: NDArray[np.bool_], algorithm: Algorithm) -> Findings:
    # to the cubic millimetre: what lies below says nothing about a brain
    millilitres = round(np.count_nonzero(mask) * volume.voxel_volume / 1000, 3)
    segment = Segment(
        label=_LABEL,
        mask=mask,
        category=codes.CID7150.AnatomicalStructure,
        type=codes.SCT.Brain,
        colour_lab=_COLOUR_LAB,
    )
    measurement = Measurement(codes.SCT.Volume, float(millilitres), _MILLILITRE, _LABEL)
    return Findings(_ROLE, algorithm, (segment,), (measurement,))
