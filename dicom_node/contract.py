"""The contract between the node and a pipeline: volumes in, findings out; an author never touches DICOM.

A pipeline is a class found by its entry point (group `dicom_node.pipelines`). The node makes one object of it in
a worker process, calls `load` once, then `run` for each job. Volumes are `highdicom.Volume`: array float32,
(slice, row, column), modality units; affine float64, 4 x 4, index to LPS mm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.sr.coding import Code

#: The entry point group under which pipelines are found.
ENTRY_POINT_GROUP: Final = "dicom_node.pipelines"

SettingValue = str | int | float | bool
#: Called with the share done (0 to 1) and a few words; cheap, may be called often.
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Role:
    """One input that a pipeline wants, by role.

    Parameters
    ----------
    minimum_slices : int
        Fewer slices are refused before `run` is called.
    """

    title: str
    modality: str = "MR"
    minimum_slices: int = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a rule may give a pipeline; its default also fixes its type.

    Parameters
    ----------
    at_least, at_most : float or None
        Inclusive range for a number, in the unit that the help text names.
    """

    default: SettingValue
    help: str
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[SettingValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What made the findings (PS3.16 TID 4019; PS3.3 10.16 Algorithm Identification Macro).

    Parameters
    ----------
    weights_sha256 : str
        Hex digest over all weight files, empty where there are none.
    family : Code
        A code of CID 7162, for instance (123110, DCM, "Artificial Intelligence").
    """

    name: str
    version: str
    family: Code
    weights_sha256: str = ""
    parameters: Mapping[str, SettingValue] = field(default_factory=dict)
    citation: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """One outlined structure.

    Parameters
    ----------
    mask : bool array, (slice, row, column), exactly the shape of the role's input volume
    category : Code
        Segmented Property Category, CID 7150.
    type : Code
        Segmented Property Type, for instance (12738006, SCT, "Brain").
    region : Code or None
        Anatomic Region, where it is not the type itself.
    colour_lab : (float, float, float)
        Recommended display colour: CIELab, L* 0..100, a* and b* -128..127.
    """

    label: str
    mask: NDArray[np.bool_]
    category: Code
    type: Code
    colour_lab: tuple[float, float, float]
    region: Code | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number, of one segment.

    Parameters
    ----------
    unit : Code
        A UCUM unit.
    segment : str
        The label of the segment that was measured; it need not have been found (an empty mask measures 0).
    derivation, method : Code or None
        TID 300/1419 modifiers, where a standard code exists.
    """

    name: Code
    value: float
    unit: Code
    segment: str
    derivation: Code | None = None
    method: Code | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one run found on the grid of one role's volume.

    Parameters
    ----------
    role : str
        The role whose volume the masks lie on.
    remarks : tuple of str
        Sentences for the radiologist, such as "No brain was found in these images.".
    """

    role: str
    algorithm: Algorithm
    segments: tuple[Segment, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Pipeline(Protocol):
    """What an author writes."""

    name: str
    version: str
    title: str
    intended_use: str
    roles: Mapping[str, Role]
    settings: Mapping[str, Setting]

    def load(self, device: str) -> str:
        """Load the model on a device; called once per worker process.

        Parameters
        ----------
        device : str
            "cpu", "cuda", or "auto": CUDA where there is one.

        Returns
        -------
        str
            Hex SHA-256 over the weight files, empty where there are none.

        Raises
        ------
        ModelUnavailable
            If weights are missing or have another checksum.
        """
        ...

    def run(self, inputs: Mapping[str, Volume], settings: Mapping[str, SettingValue], progress: Progress) -> Findings:
        """Return the findings for one volume per role.

        Raises
        ------
        PipelineRefused
            With a sentence for the radiologist, if these images cannot be used.
        """
        ...


def checked_settings(
    wanted: Mapping[str, Setting], given: Mapping[str, SettingValue]
) -> tuple[dict[str, SettingValue], Sequence[str]]:
    """Return the settings with defaults filled in, and a sentence for every fault in what was given."""
    faults = [_unknown(name, wanted) for name in given if name not in wanted]
    faults += [fault for name in given if name in wanted for fault in _faults(name, wanted[name], given[name])]
    values = {name: setting.default for name, setting in wanted.items()}
    values.update({name: value for name, value in given.items() if name in wanted})
    return values, faults


def _unknown(name: str, wanted: Mapping[str, Setting]) -> str:
    known = ", ".join(sorted(wanted)) or "none"
    return f"unknown setting {name!r} (known: {known})"


def _faults(name: str, setting: Setting, value: SettingValue) -> list[str]:
    number = isinstance(setting.default, int | float) and not isinstance(setting.default, bool)
    if number and (isinstance(value, bool) or not isinstance(value, int | float)):
        return [f"setting {name!r} must be a number, not {value!r}"]
    if not number and type(value) is not type(setting.default):
        return [f"setting {name!r} must be {type(setting.default).__name__}, not {value!r}"]
    if setting.choices and value not in setting.choices:
        return [f"setting {name!r} must be one of {', '.join(map(repr, setting.choices))}, not {value!r}"]
    if number and not _in_range(float(value), setting):
        return [f"setting {name!r} must be from {setting.at_least} to {setting.at_most}, not {value!r}"]
    return []


def _in_range(value: float, setting: Setting) -> bool:
    low = float("-inf") if setting.at_least is None else setting.at_least
    high = float("inf") if setting.at_most is None else setting.at_most
    return low <= value <= high
