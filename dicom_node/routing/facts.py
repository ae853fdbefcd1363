"""What is known of a study, gathered from every instance of every series - never from whichever file came first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from itertools import pairwise
from math import acos, degrees, hypot, inf, isfinite
from statistics import median
from typing import Final

from dicom_node.entities import FactValue, Header, InstanceRef, SeriesFacts, StudyFacts
from dicom_node.routing.headers import VECTORS, is_number, told_number
from dicom_node.routing.series_facts import moment_facts, study_age_days, voxel_volume

#: A slice is axial, coronal or sagittal if its normal is within this angle of the patient's axis; heads are often
#: tilted up to 25 degrees to follow the line through the commissures, and are still called axial.
ORIENTATION_TOLERANCE_DEGREES: Final = 30.0
#: Slices closer than this, in mm along the normal, lie at one position.
_SAME_POSITION_MM: Final = 0.01
_ORIENTATION_NAMES: Final = ("sagittal", "coronal", "axial")  # normal along x, y, z (LPS, PS3.3 C.7.6.2.1.1)

#: Facts that are computed for each series, and the value representation that their values are like.
SERIES_FACTS: Final[Mapping[str, str]] = {
    "Orientation": "CS",
    "SliceSpacing": "DS",
    "NumberOfSlices": "IS",
    "NumberOfInstances": "IS",
    "VoxelVolume": "DS",
    "AcquiredAt": "DT",
}
#: Facts of the study's journey, likewise.
STUDY_FACTS: Final[Mapping[str, str]] = {
    "CallingAETitle": "AE",
    "CalledAETitle": "AE",
    "CallingAddress": "LO",
    "NumberOfInstances": "IS",
    "StudyAgeDays": "DS",
}
ORIENTATIONS: Final = ("axial", "coronal", "sagittal", "oblique")

_Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ReceivedHeader:
    """One received instance: its identity, its facts, and who sent it to whom from where, when (UTC seconds)."""

    ref: InstanceRef
    header: Header
    calling: str
    called: str
    address: str
    received_at: float | None = None


def gather(study_uid: str, received: Sequence[ReceivedHeader], zone: tzinfo | None = None) -> StudyFacts:
    """Return the facts of a study; the order of arrival changes nothing, as instances are taken in order of UID.

    Parameters
    ----------
    zone : tzinfo or None
        Time zone of the site, in which a study's age is counted; None: that of this computer.
    """
    ordered = sorted(received, key=lambda one: (one.ref.series_instance_uid, one.ref.sop_instance_uid))
    series: dict[str, list[ReceivedHeader]] = {}
    for one in ordered:
        series.setdefault(one.ref.series_instance_uid, []).append(one)
    facts = tuple(_series_facts(uid, instances) for uid, instances in series.items())
    values = _union(one.values for one in facts)
    values["NumberOfInstances"] = (len(ordered),)
    values["CallingAETitle"] = tuple(sorted({one.calling for one in ordered}))
    values["CalledAETitle"] = tuple(sorted({one.called for one in ordered}))
    values["CallingAddress"] = tuple(sorted({one.address for one in ordered}))
    arrivals = [one.received_at for one in ordered if one.received_at is not None]
    values.update(study_age_days(values, max(arrivals), zone) if arrivals else {})
    return StudyFacts(study_uid, values, facts)


def _series_facts(uid: str, instances: Sequence[ReceivedHeader]) -> SeriesFacts:
    values = _union(one.header for one in instances)
    values["SOPClassUID"] = tuple(dict.fromkeys(one.ref.sop_class_uid for one in instances))
    values["NumberOfInstances"] = (len(instances),)
    values.pop("NumberOfSlices", None)  # PET's attribute of that name (0054,0081) gives way to what is there
    values.update(_Stack.of(one.header for one in instances).facts())
    values.update(moment_facts(values))
    values.update(voxel_volume(values))
    return SeriesFacts(
        series_instance_uid=uid,
        values=values,
        paths=tuple(one.ref.path for one in instances),
        sop_instance_uids=tuple(one.ref.sop_instance_uid for one in instances),
    )


def _union(headers: Iterator[Header]) -> dict[str, tuple[FactValue, ...]]:
    found: dict[str, dict[FactValue, None]] = {}
    latest: dict[str, tuple[FactValue, ...]] = {}
    for header in headers:
        for path, values in header.items():
            if latest.get(path) != values:  # most are those of the image before
                latest[path] = values
                found.setdefault(path, {}).update(dict.fromkeys(values))
    return {path: told for path, values in found.items() if (told := _told(values))}


def _told(values: Iterable[FactValue]) -> tuple[FactValue, ...]:
    return tuple([told for value in values if (told := told_number(value)) != ""])


@dataclass(slots=True)
class _Stack:
    """Where the slices of one series lie (Image Plane module, PS3.3 C.7.6.2).

    Parameters
    ----------
    positions : mapping
        Normal, rounded, -> mm along it of each slice.
    unpaired : set
        Positions of instances whose frames have several orientations: counted, not measured.
    """

    positions: dict[_Vector, list[float]] = field(default_factory=dict)
    normals: dict[_Vector, None] = field(default_factory=dict)
    unpaired: set[_Vector] = field(default_factory=set)

    @classmethod
    def of(cls, headers: Iterator[Header]) -> "_Stack":
        """Return the stack that the instances' positions and orientations make."""
        stack = cls()
        for header in headers:
            stack.add(header)
        return stack

    def add(self, header: Header) -> None:
        """Add the frames of one instance."""
        normals = [normal for six in _vectors(header, "ImageOrientationPatient") if (normal := _normal(six))]
        points = [(x, y, z) for x, y, z in _vectors(header, "ImagePositionPatient")]
        self.normals.update(dict.fromkeys(normals))
        if len(normals) == 1:
            along = [place for point in points if isfinite(place := _dot(point, normals[0]))]
            self.positions.setdefault(normals[0], []).extend(along)
        elif normals:
            self.unpaired.update(points)

    def facts(self) -> dict[str, tuple[FactValue, ...]]:
        """Return Orientation, NumberOfSlices and SliceSpacing (mm), as far as the headers tell them."""
        distinct = [_distinct(positions) for positions in self.positions.values()]
        gaps = {round(median(_gaps(positions)), 4) for positions in distinct if len(positions) > 1} - {inf}
        count = sum(map(len, distinct)) + len(self.unpaired)
        facts: dict[str, tuple[FactValue, ...]] = {
            "Orientation": tuple(sorted({orientation(normal) for normal in self.normals})),
            "NumberOfSlices": (count,) if count else (),
            "SliceSpacing": tuple(sorted(gaps)),
        }
        return {name: values for name, values in facts.items() if values}


def orientation(normal: _Vector) -> str:
    """Return "axial", "coronal", "sagittal" or "oblique" for a unit normal in LPS."""
    cosines = [min(abs(part), 1.0) for part in normal]
    nearest = max(range(3), key=cosines.__getitem__)
    angle = degrees(acos(cosines[nearest]))
    return _ORIENTATION_NAMES[nearest] if angle <= ORIENTATION_TOLERANCE_DEGREES else "oblique"


def _vectors(header: Header, keyword: str) -> list[tuple[float, ...]]:
    """Return the vectors of an attribute; none where its values are not numbers or do not come in full."""
    values, size = header.get(keyword, ()), VECTORS[keyword]
    numbers = [float(value) for value in values if not isinstance(value, str) and is_number(value)]
    if len(numbers) != len(values) or len(numbers) % size:
        return []
    return [tuple(numbers[start : start + size]) for start in range(0, len(numbers), size)]


def _normal(six: tuple[float, ...]) -> _Vector | None:
    """Return the unit normal of the direction cosines of a row and a column; rounded, so that equals are equal.

    None where they are parallel, or too large to tell.
    """
    ax, ay, az, bx, by, bz = six
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = hypot(x, y, z)
    return (round(x / length, 4), round(y / length, 4), round(z / length, 4)) if length and isfinite(length) else None


def _dot(a: _Vector, b: _Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _distinct(positions: list[float]) -> list[float]:
    distinct: list[float] = []
    for position in sorted(positions):
        if not distinct or position - distinct[-1] > _SAME_POSITION_MM:
            distinct.append(position)
    return distinct


def _gaps(positions: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(positions)]
