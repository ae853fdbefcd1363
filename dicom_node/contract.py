"""The contract between the node and a pipeline: volumes in, findings out; an author never touches DICOM.

A pipeline is a class found by its entry point (group `dicom_node.pipelines`). The node makes one object of it in
a worker process, calls `load` once, then `run` for each job. Volumes are `highdicom.Volume`: array float32,
(slice, row, column), modality units; affine float64, 4 x 4, index to LPS mm. What a pipeline logs while it runs, with
`logging` or `structlog`, is kept with the job; what it may declare beside is in `dicom_node.declarations`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Final, Protocol, runtime_checkable

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
    prior : bool
        Filled from an earlier study of the same patient, which a rule has fetched; findings cannot lie on it.
    required : bool or None
        False: without it `run` is called all the same, and `inputs` lacks the role. None: only a prior may lack.
    """

    title: str
    modality: str = "MR"
    minimum_slices: int = 1
    prior: bool = False
    required: bool | None = None

    @property
    def may_lack(self) -> bool:
        """Whether `run` is called without it."""
        return self.prior if self.required is None else not self.required


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
class LabelMask:
    """The mask of one structure in a volume of labels, such as a model for many organs gives.

    All structures share the volume: a mask is made when it is looked at, and never are all of them in memory.

    Parameters
    ----------
    labels : integer array, (slice, row, column), exactly the shape of the role's input volume
    value : int
        The label of this structure.
    """

    labels: NDArray[np.integer[Any]]
    value: int

    def __getitem__(self, part: int | EllipsisType) -> NDArray[np.bool_]:
        """Return one slice of the mask, bool, (row, column), or all of it with `...`."""
        return np.asarray(self.labels[part] == self.value)


class _Mask:
    """The attribute `Segment.mask`: may be set to a label mask, and always gives an array."""

    def __get__(self, segment: "Segment | None", _: type["Segment"]) -> NDArray[np.bool_]:
        if segment is None:
            raise AttributeError("mask")  # asked of the class: there is no default
        given = segment.voxels
        return given[...] if isinstance(given, LabelMask) else given

    def __set__(self, segment: "Segment", given: NDArray[np.bool_] | LabelMask) -> None:
        vars(segment)["mask"] = given


@dataclass(frozen=True)
class Segment:
    """One outlined structure.

    Parameters
    ----------
    label : str
        One line, unlike every other label. One that the source's character set cannot hold, such as Chinese beside
        Latin-1, gives way to the meaning of the type.
    mask : bool array, (slice, row, column), exactly the shape of the role's input volume, or a LabelMask
        Read, it is an array in either case.
    category : Code
        Segmented Property Category, CID 7150.
    type : Code
        Segmented Property Type, for instance (12738006, SCT, "Brain").
    region : Code or None
        Anatomic Region, where it is not the type itself.
    laterality : Code or None
        CID 244, of the region, or of the type where there is no region: (7771000, SCT, "Left") and so on.
    colour_lab : (float, float, float)
        Recommended display colour: CIELab, L* 0..100, a* and b* -128..127.
    """

    label: str
    mask: _Mask = _Mask()
    # mypy takes a descriptor for a default; there is none
    category: Code  # type: ignore[misc]
    type: Code  # type: ignore[misc]
    colour_lab: tuple[float, float, float]  # type: ignore[misc]
    region: Code | None = None
    laterality: Code | None = None

    @property
    def voxels(self) -> NDArray[np.bool_] | LabelMask:
        """Return the mask as it was given; indexed with the number of a slice, either gives that slice."""
        given: NDArray[np.bool_] | LabelMask = vars(self)["mask"]
        return given


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number, of one segment or of all the images.

    Parameters
    ----------
    unit : Code
        A UCUM unit.
    segment : str
        The label of the segment that was measured; it need not have been found (an empty mask measures 0). Empty: the
        number is about the images as a whole.
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
class ReferenceRange:
    """Where the same number lies in healthy people; reports draw the measured value on it.

    Parameters
    ----------
    measurement, segment : Code, str
        Name and segment of the `Measurement` that it belongs to.
    low, high : float
        The limits, in the unit of that measurement; one of them may be infinite.
    population : str
        Of whom, and by whom it was published, such as "women of 60 to 70 years, 5th to 95th percentile (...)".
    """

    measurement: Code
    segment: str
    low: float
    high: float
    population: str


@dataclass(frozen=True, slots=True)
class Location:
    """One place that was found, without an outline.

    Parameters
    ----------
    point : (float, float, float)
        (slice, row, column) on the grid of the role's volume; whole numbers are the centres of voxels.
    category, type : Code
        As in `Segment`.
    probability : float or None
        0 to 1.
    """

    label: str
    point: tuple[float, float, float]
    category: Code
    type: Code
    region: Code | None = None
    laterality: Code | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """One answer in words to one question about a segment, a location, or all the images.

    Parameters
    ----------
    name, value : Code
        What was looked at, and what it was found to be.
    probability : float or None
        0 to 1: how sure the algorithm is of this value.
    of : str
        The label of a segment or of a location; empty: the images as a whole.
    """

    name: Code
    value: Code
    probability: float | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class ProbabilityMap:
    """A number for every voxel, such as the probability of a lesion.

    Parameters
    ----------
    values : float32 array, (slice, row, column), exactly the shape of the role's input volume; finite
    quantity : Code
        What the numbers are: a code of CID 7180 where there is one.
    unit : Code
        A UCUM unit; (1, UCUM, "no units") for a probability.
    """

    label: str
    values: NDArray[np.float32]
    quantity: Code
    unit: Code


@dataclass(frozen=True, slots=True)
class DerivedImages:
    """New images made of the role's images, such as a denoised series; they stand beside it, never in its place.

    Parameters
    ----------
    values : float32 array, (slice, row, column), exactly the shape of the role's input volume; finite
    description : str
        What was done, for Derivation Description (0008,2111).
    derivation : Code
        CID 7203, such as (113085, DCM, "Spatial resampling").
    window : (float, float) or None
        Centre and width for display, in the unit of the values; None: chosen from the values.
    """

    label: str
    values: NDArray[np.float32]
    description: str
    derivation: Code
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class KeySlice:
    """One slice of the role's volume that a reader should look at, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one run found on the grid of one role's volume.

    Parameters
    ----------
    role : str
        The role whose volume the masks lie on.
    remarks : tuple of str
        Sentences for the radiologist, such as "No brain was found in these images."; 10 000 characters at most.
    key_slices : tuple of KeySlice
        Empty: the node chooses the slices where the segments are largest.
    """

    role: str
    algorithm: Algorithm
    segments: tuple[Segment, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    remarks: tuple[str, ...] = ()
    classifications: tuple[Classification, ...] = ()
    locations: tuple[Location, ...] = ()
    maps: tuple[ProbabilityMap, ...] = ()
    images: tuple[DerivedImages, ...] = ()
    key_slices: tuple[KeySlice, ...] = ()
    ranges: tuple[ReferenceRange, ...] = ()


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
        """Return the findings for one volume per role; a role that may lack, such as a prior, may be absent.

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
