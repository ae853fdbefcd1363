"""What every check of the gate looks at."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset

from dicom_node.contract import Findings
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import BuiltObject


@dataclass(frozen=True, slots=True)
class Case:
    """One object, everything built with it, and everything it was made from.

    Parameters
    ----------
    source : SourceSeries
        The series that the object says it was made from.
    images : dict of SOP Instance UID to Dataset
        Every source image; made once for all objects of a build.
    series, instances : sequence of str
        Series and SOP Instance UIDs of `objects`, in their order; read once for all objects of a build.
    findings : Findings or None
        What the objects are to show; None where only their form is looked at.
    """

    built: BuiltObject
    source: SourceSeries
    objects: Sequence[BuiltObject]
    sources: Mapping[str, SourceSeries]
    images: dict[str, Dataset] = field(default_factory=dict, repr=False)
    series: Sequence[str] = ()
    instances: Sequence[str] = ()
    findings: Findings | None = field(default=None, repr=False)

    @property
    def dataset(self) -> Dataset:
        """Return the object's data set."""
        return self.built.dataset

    def source_images(self) -> dict[str, Dataset]:
        """Return every source image of every role by SOP Instance UID."""
        return self.images or images_by_uid(self.sources)


def images_by_uid(sources: Mapping[str, SourceSeries]) -> dict[str, Dataset]:
    """Return every source image of every role by SOP Instance UID."""
    return {str(image.SOPInstanceUID): image for each in sources.values() for image in each.datasets}


#: A check yields one sentence for each thing that is wrong, without any patient's data.
Check = Callable[[Case], Iterable[str]]


def items(dataset: Dataset, keyword: str) -> Sequence[Any]:
    """Return the items of a sequence, or the values of a multi-valued attribute; none if it is absent."""
    return dataset.get(keyword) or ()


def other_than(dataset: Dataset, wanted: Mapping[str, object]) -> Iterator[str]:
    """Yield a fault for every attribute that has another value than is wanted."""
    for keyword, value in wanted.items():
        if dataset.get(keyword) != value:
            yield f"{keyword} is not {value}"


def same_place(case: Case) -> Iterator[str]:
    """PS3.3 C.7.3.1: of the same part and side of the body as the source."""
    for keyword in ("BodyPartExamined", "Laterality"):
        if (case.dataset.get(keyword) or None) != (case.source.datasets[0].get(keyword) or None):
            yield f"{keyword} is not that of the source"
